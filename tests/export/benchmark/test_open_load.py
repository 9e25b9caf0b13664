"""The open-load benchmark of the server: its generator, its search, and the command line.

No test checks how fast anything is: where a time is compared, waiting longer cannot change the outcome.
"""

import asyncio
import contextlib
import json
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import IO

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from export.__main__ import main
from export.benchmark.load_generator import MAX_UNANSWERED, poisson_arrivals, post, send
from export.benchmark.open_load import FAILURES, HOLDS, LATE, TOO_SLOW, LoadRules, find_limit
from export.benchmark.rate_search import BISECTIONS, MAX_FALLS, RISE, RateSearch
from export.benchmark.samples import Samples
from export.benchmark.server_process import serving
from export.errors import RunnerError
from tests.conftest import REPOSITORY
from tests.handler.processes import descendants, is_alive, wait_until
from tests.tiny_bundle import write_tiny_bundle

REQUEST = post("/", b"body", "text/plain")

PATIENT = LoadRules(limit_ms=500, late_ms=np.inf, turn_s=0.25, turn_queries=1)
"""Holds although other programs keep the machine busy."""


@contextlib.contextmanager
def answering(answer: Callable[[], Awaitable[int]]) -> Iterator[int]:
    """An HTTP server in a thread; yields its port.

    Args:
        answer: returns the status of one answer; 0 closes the connection instead.
    """
    loop = asyncio.new_event_loop()
    clients: set[asyncio.StreamWriter] = set()

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        clients.add(writer)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                await reader.readexactly(int(re.findall(rb"content-length: (\d+)", head)[0]))
                status = await answer()
                if not status:
                    break
                writer.write(b"HTTP/1.1 %d Said\r\ncontent-length: 2\r\n\r\nok" % status)
        clients.discard(writer)
        writer.close()

    server = loop.run_until_complete(asyncio.start_server(converse, "127.0.0.1", 0, backlog=500))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    async def stop() -> None:
        server.close()
        for writer in clients:
            writer.close()
        await asyncio.sleep(0)
        others = asyncio.all_tasks() - {asyncio.current_task()}
        await asyncio.wait_for(asyncio.gather(*others, return_exceptions=True), 10)

    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        asyncio.run_coroutine_threadsafe(stop(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def at_once() -> int:
    return 200


def nothing() -> None:
    pass


class OneAtATime:
    """Answers one query after the other, each in `seconds`."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._lock = asyncio.Lock()

    async def __call__(self) -> int:
        async with self._lock:
            await asyncio.sleep(self._seconds)
        return 200


class Limited:
    """Answers within `seconds`, and rejects queries while `most` others are in flight."""

    def __init__(self, seconds: float, most: int) -> None:
        self._seconds, self._most = seconds, most
        self._in_flight = 0

    async def __call__(self) -> int:
        if self._in_flight == self._most:
            return 503
        self._in_flight += 1
        await asyncio.sleep(self._seconds)
        self._in_flight -= 1
        return 200


def test_arrivals_are_a_poisson_process() -> None:
    gaps = np.diff(poisson_arrivals(50, 20_000, seed=1), prepend=0)

    assert gaps.min() > 0
    assert gaps.mean() == pytest.approx(1 / 50)
    assert gaps.std() == pytest.approx(gaps.mean(), rel=0.03), "as of an exponential distribution"
    assert np.corrcoef(gaps[1:], gaps[:-1])[0, 1] == pytest.approx(0, abs=0.03)
    assert (poisson_arrivals(50, 5, seed=1) == poisson_arrivals(50, 5, seed=1)).all()
    assert (poisson_arrivals(50, 5, seed=1) != poisson_arrivals(50, 5, seed=2)).any()


def test_a_stall_counts_for_every_query_that_was_due_meanwhile() -> None:
    stalled = False

    async def stall_once() -> int:
        nonlocal stalled
        if not stalled:
            stalled = True
            time.sleep(0.5)  # the whole server
        return 200

    due_s = np.arange(0, 1, 0.01)
    with answering(stall_once) as port:
        queries = send(port, REQUEST, due_s, nothing)

    assert not any(query.failure for query in queries)
    latencies = np.array([query.latency_ms for query in queries])
    assert (latencies >= 500 - due_s * 1000).all()
    assert (latencies > 100).sum() >= 40, "a client that waits for each answer would have noticed one"


def test_a_late_generator_is_reported_and_shortens_no_latency() -> None:
    calls = iter([time.sleep])
    due_s = np.arange(0, 0.4, 0.01)
    with answering(at_once) as port:
        queries = send(port, REQUEST, due_s, lambda: next(calls, lambda _: None)(0.2))

    assert all(query.latency_ms > query.late_ms >= 0 for query in queries)
    late = np.array([query.late_ms for query in queries])
    assert (late[1:] >= 200 - due_s[1:] * 1000).all()


def test_queries_beyond_the_most_connections_fail() -> None:
    arrived = 0
    all_arrived = asyncio.Event()

    async def wait_for_all() -> int:
        nonlocal arrived
        arrived += 1
        if arrived == MAX_UNANSWERED:
            all_arrived.set()
        await all_arrived.wait()
        return 200

    with answering(wait_for_all) as port:
        queries = send(port, REQUEST, np.zeros(MAX_UNANSWERED + 3), nothing)

    assert [query.failure.partition(":")[0] for query in queries] == [""] * MAX_UNANSWERED + ["not sent"] * 3


def test_a_closed_connection_is_a_failure_and_the_next_query_opens_another() -> None:
    statuses = iter([200, 0, 200])

    async def close_the_second() -> int:
        return next(statuses)

    with answering(close_the_second) as port:
        queries = send(port, REQUEST, [0, 0.3, 0.6], nothing)

    assert [query.failure for query in queries] == ["", "ConnectionResetError", ""]


def test_the_limit_of_a_slow_server_is_found() -> None:
    with answering(OneAtATime(0.01)) as port:
        found = find_limit(port, REQUEST, 2, PATIENT)

    held = [row["rate"] for row in found["rates"] if row["verdict"] == HOLDS]
    assert found["highest_rate"] == max(held)
    assert found["limited_by"] == TOO_SLOW
    # At three times its capacity of 100 queries per second, the queue is a second long after half a second.
    assert max(held) < 300
    above = min(row["rate"] for row in found["rates"] if row["verdict"] != HOLDS)
    assert max(held) < above < max(held) * 1.04
    assert all(row["latency"]["n"] == row["queries"] for row in found["rates"])
    assert all(0 < row["reached"] < 100 for row in found["rates"])


def test_rejected_queries_fail_a_rate() -> None:
    with answering(Limited(0.02, most=3)) as port:
        found = find_limit(port, REQUEST, 2, PATIENT)

    assert found["limited_by"] == FAILURES
    for row in found["rates"]:
        answered = row["latency"]["n"] if row["latency"] else 0
        assert row["queries"] == answered + row["failures"].get("status 503", 0)
        assert (row["verdict"] == FAILURES) == ("status 503" in row["failures"])


def test_no_rate_holds_if_the_generator_is_late() -> None:
    with answering(at_once) as port:
        found = find_limit(port, REQUEST, 1, LoadRules(late_ms=-1, turn_s=0.01, turn_queries=1))

    assert (found["highest_rate"], found["limited_by"]) == (None, LATE)
    assert [(row["verdict"], row["attempts"]) for row in found["rates"]] == [(LATE, 2)], "lower rates would not help"


def test_a_server_that_refuses_everything_is_an_error() -> None:
    async def refuse() -> int:
        return 422

    with (
        answering(refuse) as port,
        pytest.raises(RunnerError, match=r"no query \(status 422\): start python -m handler serve"),
    ):
        find_limit(port, REQUEST, 1, PATIENT)


RATES = st.floats(0.1, 10_000)


@given(first=RATES, limit=RATES)
@example(first=10, limit=10 / RISE**MAX_FALLS)
@example(first=10, limit=1)
def test_the_search_ends_beside_the_limit(first: float, limit: float) -> None:
    search = RateSearch(first)
    tried = []
    while search.rate is not None:
        assert search.left >= 1
        tried.append(search.rate)
        search.tell(holds=search.rate <= limit)

    assert search.left == 0
    assert search.broken is not None
    assert search.broken > limit
    if search.held is None:
        assert len(tried) == MAX_FALLS + 1
        assert limit < min(tried)
    else:
        assert search.held <= limit
        assert search.held == max(rate for rate in tried if rate <= limit)
        assert search.broken / search.held < RISE ** (0.5**BISECTIONS) * 1.02, "rates have three digits"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_bundle(tmp_path_factory.mktemp("open_load") / "bundle")


def command(bundle: Path, out: Path, *more: str) -> list[str]:
    return ["benchmark", "--server", "--bundle", str(bundle), "--out", str(out), *more]


@pytest.mark.slow
def test_the_server_is_measured(bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(command(bundle, tmp_path, "--rounds", "1", "--json")) == 0

    result = json.loads(capsys.readouterr().out)
    assert json.loads((tmp_path / "server.json").read_text()) == result
    assert (tmp_path / "server.png").read_bytes().startswith(b"\x89PNG")
    assert (result["model"]["name"], result["model"]["version"]) == ("tiny", "0.0.1")
    assert [load["name"] for load in result["loads"]] == ["sample image", "radiograph"]
    for load in result["loads"]:
        held = [row["rate"] for row in load["rates"] if row["verdict"] == HOLDS]
        assert load["highest_rate"] == max(held, default=None)
        for row in load["rates"]:
            assert row["queries"] >= max(row["rate"], 52)
            answered = Samples.from_json(row["samples"])
            assert answered.summary() == row["latency"]
            assert answered.n + sum(row["failures"].values()) == row["queries"]
            lateness = Samples.from_json(row["lateness"])
            assert lateness.n == row["queries"]
            assert row["lateness_ms"]["p99"] == lateness.percentile(99)
            if row["verdict"] == HOLDS:
                assert not row["failures"]
                assert answered.percentile(99) <= 100
                assert lateness.percentile(99) <= 10


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_the_server_ends_with_the_benchmark(number: signal.Signals, status: int, bundle: Path, tmp_path: Path) -> None:
    words = [sys.executable, "-m", "export", *command(bundle, tmp_path)]
    with subprocess.Popen(words, cwd=REPOSITORY, stderr=subprocess.PIPE, text=True) as benchmark:
        assert benchmark.stderr
        assert "queries/s" in iter_until(benchmark.stderr, "queries/s")
        server = descendants(benchmark.pid)
        assert len(server) >= 2, "and the parent of its decoders"
        benchmark.send_signal(number)
        benchmark.communicate()

    assert benchmark.returncode == status
    assert wait_until(lambda: not any(map(is_alive, server)))
    assert not (tmp_path / "server.json").exists()


def iter_until(stream: IO[str], words: str) -> str:
    """What the stream says up to these words."""
    said = ""
    while words not in said and (character := stream.read(1)):
        said += character
    return said


def test_a_server_that_cannot_start_is_one_line(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CALIBRATION", str(tmp_path / "gone.json"))

    assert main(command(bundle, tmp_path)) == 1

    said = capsys.readouterr().err
    assert "error: the server ended with status" in said
    assert "gone.json" in said


def test_a_wrong_setting_is_one_line(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORKERS", "many")

    assert main(command(bundle, tmp_path)) == 1

    assert "error: WORKERS must be an integer above 0, got 'many'" in capsys.readouterr().err


def test_the_server_uses_the_cores_that_it_is_given(bundle: Path) -> None:
    with serving(bundle, threads=1) as server:
        assert server.settings.workers == 1

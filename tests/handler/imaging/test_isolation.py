"""The decoding processes: limits on the cost of a file, the order of answers, and the death of a process."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from starlette.testclient import TestClient

from handler import errors
from handler.classifier import Classifier
from handler.errors import DecodingTooCostly, HandlerError, Overloaded, UnreadableImage
from handler.http.app import create_app
from handler.imaging.decode import decode
from handler.imaging.isolation import MAX_SLOW, Decoder
from handler.imaging.limits import Limits
from handler.scoring import Predictor
from handler.settings import Settings
from tests.conftest import REPOSITORY
from tests.handler.answers import assert_refused
from tests.handler.costly import jpeg as scans
from tests.handler.costly import repeated_scans, swelling_png, tall_tiles
from tests.handler.images import animation, bomb, dicom, encode, jpeg, noise, phantom, png
from tests.handler.processes import cpu_s, descendants, is_alive, wait_until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks at processes in /proc")

SIZE = 64
AMPLE = Limits(cpu_s=60, wall_s=60, memory_mb=256)

SLOW = tall_tiles()
"""Takes a minute of CPU time, and little memory."""


@pytest.fixture
def make() -> Iterator[Callable[..., Decoder]]:
    """Decoders that are closed at the end of the test."""
    made: list[Decoder] = []

    def start(limits: Limits = AMPLE, **options: int) -> Decoder:
        made.append(Decoder(limits, **options))
        return made[-1]

    yield start
    for each in made:
        each.close()


@pytest.fixture(scope="module")
def shared() -> Iterator[Decoder]:
    with Decoder(AMPLE, workers=2) as decoder:
        yield decoder


def family(decoder: Decoder) -> tuple[int, list[int]]:
    """The parent and the workers of a decoder."""
    decoder.decode(jpeg(), SIZE)
    process = decoder._parent._process
    assert process, "tests have threads, so it is no fork"
    return process.pid, descendants(process.pid)


def python(code: str, *before: str, **options: object) -> "subprocess.CompletedProcess[bytes]":
    """Run a program in a new process that has only one thread."""
    command = [*before, sys.executable, "-c", textwrap.dedent(code)]
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    return subprocess.run(
        command, cwd=REPOSITORY, env=environment, capture_output=True, timeout=120, check=False, **options
    )


# Results


@pytest.mark.parametrize(
    "data",
    [
        jpeg(),
        jpeg(progressive=True),
        png(),
        noise(),
        dicom(),
        png(Image.fromarray(np.asarray(phantom()).astype(np.uint16) * 200)),
        encode(phantom(), "TIFF", compression="tiff_lzw"),
        encode(phantom(1800, 1500)),
    ],
)
def test_the_pixels_are_those_of_decode(shared: Decoder, data: bytes) -> None:
    pixels = shared.decode(data, SIZE)

    assert pixels.dtype == np.uint8
    np.testing.assert_array_equal(pixels, decode(data, SIZE))


@pytest.mark.parametrize("data", [b"", b"text", jpeg()[:200], dicom()[:600], animation(), bomb(), dicom(Rows=60_000)])
def test_errors_are_those_of_decode(shared: Decoder, data: bytes) -> None:
    with pytest.raises(errors.InputError) as expected:
        decode(data, SIZE)

    with pytest.raises(errors.InputError) as raised:
        shared.decode(data, SIZE)

    assert (type(raised.value), str(raised.value)) == (type(expected.value), str(expected.value))


# Limits


@pytest.mark.parametrize(
    "data",
    [SLOW, scans(5600, 5600, frame=0xCA, scans=99), repeated_scans(5000, 5000, 250)],
    ids=["TIFF", "JPEG", "scans"],
)
def test_a_file_costs_no_more_cpu_time_than_it_may(make, data: bytes) -> None:
    decoder = make(Limits(cpu_s=1, wall_s=60, memory_mb=256))
    parent, _ = family(decoder)
    before = cpu_s(parent)

    with pytest.raises(DecodingTooCostly, match="more than 1 s of CPU time"):
        decoder.decode(data, SIZE)

    assert cpu_s(parent) - before < 2
    assert decoder.decode(jpeg(), SIZE).any()


def test_a_file_takes_no_more_memory_than_it_may(make) -> None:
    decoder = make(Limits(cpu_s=60, wall_s=60, memory_mb=32))

    with pytest.raises(DecodingTooCostly, match="32 MB of memory"):
        decoder.decode(swelling_png(4000, 4000), SIZE)

    assert decoder.decode(swelling_png(400, 400), SIZE).any()


def test_a_file_takes_no_longer_than_it_may(make) -> None:
    decoder = make(Limits(cpu_s=60, wall_s=1, memory_mb=256))
    _, workers = family(decoder)

    with pytest.raises(DecodingTooCostly, match="1 s in total"):
        decoder.decode(SLOW, SIZE)

    assert not any(map(is_alive, workers))
    assert decoder.decode(jpeg(), SIZE).any()


def test_the_limits_are_settings() -> None:
    environment = {"DECODE_CPU_S": "1", "DECODE_TIMEOUT_S": "2", "DECODE_MEMORY_MB": "3"}

    assert Settings.from_environment(environment).decode_limits == Limits(cpu_s=1, wall_s=2, memory_mb=3)


def test_a_costly_file_is_refused_over_http(make, classifier: Classifier) -> None:
    decoder = make(Limits(cpu_s=1, wall_s=60, memory_mb=256))
    client = TestClient(create_app(Settings(), Predictor(classifier, decoder.decode)))

    assert_refused(client.post("/v1/predictions?force=true", content=SLOW), 413, "too-costly")
    assert client.post("/v1/predictions?force=true", content=jpeg()).status_code == 200


def test_a_costly_file_is_one_line_on_the_command_line(tmp_path: Path) -> None:
    costly, good = tmp_path / "costly.tif", tmp_path / "good.jpg"
    costly.write_bytes(SLOW)
    good.write_bytes(jpeg())

    done = subprocess.run(
        [sys.executable, "-m", "handler", "predict", "--force", costly, good],
        env={**os.environ, "DECODE_CPU_S": "1", "DECODE_TIMEOUT_S": "60"},
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert (done.returncode, done.stderr) == (1, "")
    first, second = done.stdout.splitlines()
    assert "Decoding takes more than 1 s" in first
    assert "%" in second


# Concurrent files


def test_a_good_file_does_not_wait_for_a_slow_one(make) -> None:
    decoder = make(workers=1)
    _, workers = family(decoder)
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(decoder.decode, SLOW, SIZE)
        assert wait_until(lambda: cpu_s(workers[0]) > 0.1)

        assert decoder.decode(jpeg(), SIZE).any()

        assert not slow.done()
        decoder.close()
        with pytest.raises(Overloaded):
            slow.result()


def test_a_crowd_of_slow_files_is_told_to_come_back(make) -> None:
    decoder = make(workers=1)
    parent, _ = family(decoder)
    with ThreadPoolExecutor(MAX_SLOW + 1) as pool:
        slow = [pool.submit(decoder.decode, SLOW, SIZE) for _ in range(MAX_SLOW + 1)]
        assert wait_until(lambda: any(each.done() for each in slow), 60)

        [refused] = [each for each in slow if each.done()]
        with pytest.raises(Overloaded, match="Several other costly images"):
            refused.result()
        assert len(descendants(parent)) == MAX_SLOW
        assert decoder.decode(jpeg(), SIZE).any()
        decoder.close()


@settings(max_examples=12)
@given(st.lists(st.integers(0, 300), min_size=1, max_size=24))
def test_each_caller_gets_the_answer_to_its_own_file(shared: Decoder, greys: list[int]) -> None:
    def answer(grey: int) -> object:
        try:
            return int(shared.decode(png(Image.new("L", (8, 8), grey)) if grey < 256 else bytes(grey), SIZE)[0, 0])
        except HandlerError as exc:
            return type(exc)

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(answer, greys))

    assert answers == [grey if grey < 256 else errors.UnsupportedFormat for grey in greys]


# Processes that die


def test_workers_that_were_killed_are_replaced(make) -> None:
    decoder = make(workers=2)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda _: decoder.decode(encode(phantom(1800, 1500)), SIZE), range(8)))
    _, workers = family(decoder)
    for pid in workers:
        os.kill(pid, signal.SIGKILL)
    assert wait_until(lambda: not any(map(is_alive, workers)))

    assert decoder.decode(jpeg(), SIZE).any()


def test_a_parent_that_was_killed_is_replaced(make) -> None:
    decoder = make(Limits(cpu_s=60, wall_s=1, memory_mb=256))
    parent, _ = family(decoder)
    os.kill(parent, signal.SIGKILL)
    assert wait_until(lambda: not is_alive(parent))

    assert decoder.decode(jpeg(), SIZE).any()
    with pytest.raises(DecodingTooCostly):
        decoder.decode(SLOW, SIZE)
    assert decoder.decode(jpeg(), SIZE).any()
    assert family(decoder)[0] != parent


@pytest.mark.parametrize(
    ("number", "error"),
    [(signal.SIGSEGV, UnreadableImage), (signal.SIGBUS, UnreadableImage), (signal.SIGKILL, DecodingTooCostly)],
)
def test_a_decoder_that_crashes_takes_only_its_own_file_with_it(
    make, number: signal.Signals, error: type[HandlerError]
) -> None:
    decoder = make()
    _, workers = family(decoder)
    with ThreadPoolExecutor(1) as pool:
        slow: Future[object] = pool.submit(decoder.decode, SLOW, SIZE)
        assert wait_until(lambda: cpu_s(workers[0]) > 0.1)
        os.kill(workers[0], number)

        with pytest.raises(error):
            slow.result()
    assert decoder.decode(jpeg(), SIZE).any()


def test_a_signal_to_all_processes_is_for_the_server_alone(make) -> None:
    decoder = make()
    parent, workers = family(decoder)
    for number in (signal.SIGTERM, signal.SIGINT):
        for pid in (parent, *workers):
            os.kill(pid, number)

    assert decoder.decode(jpeg(), SIZE).any()
    assert family(decoder) == (parent, workers)


def test_an_answer_that_is_too_long_is_not_read() -> None:
    done = python("""
        import numpy as np
        from handler.imaging import worker
        from handler.imaging.isolation import Decoder
        from handler.imaging.limits import Limits
        worker.decode = lambda data, size: np.zeros(1 << 30, np.uint8)  # a file that has taken the worker over
        with Decoder(Limits(9, 30, 2000)) as decoder:
            try:
                decoder.decode(b"x", 64)
            except Exception as exc:
                print(type(exc).__name__)
    """)

    assert (done.stdout, done.stderr) == (b"DecodingTooCostly\n", b"")


# Start and end of processes


@pytest.mark.parametrize("threads", [0, 1])
def test_the_parent_is_forked_only_without_other_threads(threads: int) -> None:
    done = python(f"""
        import os, threading
        from pathlib import Path
        from handler.imaging.isolation import Decoder
        from handler.imaging.limits import Limits
        from tests.handler.images import jpeg
        from tests.handler.processes import descendants
        over = threading.Event()
        for _ in range({threads}):
            threading.Thread(target=over.wait).start()
        with Decoder(Limits(9, 30, 256)) as decoder:
            assert decoder.decode(jpeg(), 64).any()
            command = Path(f"/proc/{{descendants(os.getpid())[0]}}/cmdline").read_bytes().split(bytes(1))
            print("new" if b"handler.imaging.worker" in command else "forked")
        over.set()
        print(descendants(os.getpid()))
    """)

    assert (done.stdout.decode().split(), done.stderr) == (["new" if threads else "forked", "[]"], b"")


@pytest.mark.parametrize("begun", [True, False])
def test_nothing_is_left_after_close(make, begun: bool) -> None:
    decoder = make()
    parent, workers = family(decoder)
    answers: list[object] = []

    def slow() -> None:
        try:
            answers.append(decoder.decode(SLOW, SIZE))
        except HandlerError as exc:
            answers.append(type(exc))

    thread = threading.Thread(target=slow)
    if begun:
        thread.start()
        assert wait_until(lambda: cpu_s(workers[0]) > 0.1)
        decoder.close()
        thread.join()
    else:
        decoder.close()
        slow()

    assert answers == [Overloaded]
    assert wait_until(lambda: not any(map(is_alive, [parent, *workers])))


@pytest.mark.parametrize("threads", [0, 1])
def test_nothing_is_left_when_the_main_process_is_killed(threads: int) -> None:
    code = f"""
        import sys, threading
        from handler.imaging.isolation import Decoder
        from handler.imaging.limits import Limits
        from tests.handler.costly import tall_tiles
        for _ in range({threads}):
            threading.Thread(target=threading.Event().wait).start()
        decoder = Decoder(Limits(60, 60, 256))
        print("ready", flush=True)
        decoder.decode(tall_tiles(), 64)
    """
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    main = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)], cwd=REPOSITORY, env=environment, stdout=subprocess.PIPE
    )
    assert main.stdout
    with main.stdout:
        assert main.stdout.readline() == b"ready\n"
        processes = descendants(main.pid)
        assert wait_until(lambda: any(cpu_s(pid, with_ended_children=False) > 0.3 for pid in processes[1:]))
        main.kill()
        main.wait()
    assert len(processes) == 2

    assert wait_until(lambda: not any(map(is_alive, processes)), 5)


# The environment of the processes


def test_messages_of_a_decoder_are_not_written_to_the_log(tmp_path: Path) -> None:
    data = encode(phantom(), "TIFF", compression="tiff_lzw")
    data = data[:300] + bytes(range(200)) + data[500:]
    direct = python(f"from handler.imaging.decode import decode; decode({data!r}, 64)")
    assert direct.stderr.startswith(b"tempfile.tif: ")  # libtiff, which writes there itself
    path = tmp_path / "damaged.tif"
    path.write_bytes(data)

    done = subprocess.run(
        [sys.executable, "-m", "handler", "predict", path], cwd=REPOSITORY, capture_output=True, timeout=60, check=False
    )

    assert (done.returncode, done.stderr) == (1, b"")


def test_a_worker_has_no_descriptor_but_its_own_socket(make, tmp_path: Path) -> None:
    with (tmp_path / "open").open("w"):
        make()
        _, workers = family(make(workers=2))
        assert workers
        for pid in workers:
            targets = [str(entry.readlink()) for entry in Path(f"/proc/{pid}/fd").iterdir()]
            assert sorted(target.partition(":")[0] for target in targets) == ["/dev/null"] * 3 + ["socket"]


@pytest.mark.parametrize(
    "before", ["exec 0<&-", "exec 0<&- 1>&2", "ulimit -t 3000", "ulimit -v 4000000", "ulimit -n 64"]
)
def test_a_shell_may_have_limits_of_its_own_or_closed_streams(before: str) -> None:
    code = """
        import os, sys
        from handler.imaging.isolation import Decoder
        from handler.imaging.limits import Limits
        from tests.handler.images import jpeg
        from tests.handler.processes import descendants
        with Decoder(Limits(9, 30, 256)) as decoder:
            assert decoder.decode(jpeg(), 64).any()
            assert len(descendants(os.getpid())) == 2
        assert not descendants(os.getpid())
    """
    done = python(code, "sh", "-c", f'{before}; exec "$@"', "sh")

    assert (done.returncode, done.stderr) == (0, b"")

"""The rules, the roofline and the turns, without the libraries of the other runtimes."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from export.benchmark.int8_roofline import roofline, share
from export.benchmark.rules import Rules
from export.benchmark.runner_pool import Runner, RunnerPool
from export.benchmark.samples import Samples
from export.benchmark.signature import Input
from export.benchmark.timing import take_turns
from handler.contract import EMBEDDED_BUNDLE


def runner(number: int, macs: int | None, kernel: bool) -> Runner:
    inputs = (Input("x", "uint8", (1,)),) if kernel else ()
    return Runner(
        name=str(number), network="n", model="m", runtime="onnxruntime", file=Path("f"), inputs=inputs, macs=macs
    )


@given(
    st.lists(
        st.tuples(
            st.none() | st.integers(1, 10**12),
            st.lists(st.floats(0.001, 1e4), min_size=1, max_size=9).map(lambda turn: Samples((tuple(turn),))),
            st.booleans(),
        ),
        min_size=1,
        max_size=6,
    ),
    st.integers(1, 64),
)
def test_no_share_of_the_roofline_exceeds_the_whole(found: list[tuple[int | None, Samples, bool]], batch: int) -> None:
    runners = [runner(number, macs, kernel) for number, (macs, _, kernel) in enumerate(found)]
    latency = {one.key: samples for one, (_, samples, _) in zip(runners, found, strict=True)}

    peak = roofline(runners, latency, batch)

    counted = [one for one in runners if one.macs]
    assert (peak is None) == (not counted)
    shares = [share(one, latency[one.key], batch, peak[0]) for one in counted if peak]
    assert all(one is not None and 0 < one <= 1 for one in shares)


@pytest.mark.parametrize(
    ("asked", "queries", "milliseconds", "turns", "broken"),
    [
        (Rules(), 16, 10.0, 64, []),
        (Rules(), 17, 10.0, 64, []),
        (Rules(), 15, 20.0, 64, ["960 queries instead of 1024"]),
        (Rules(), 16, 9.0, 64, ["9.2 s instead of 10"]),
        (Rules(batch=8), 16, 10.0, 64, ["batch 8 instead of 1"]),
        (
            Rules(),
            32,
            10.0,
            63,
            ["interrupted after 63 of 64 turns"],
        ),
    ],
)
def test_a_result_says_which_rules_it_breaks(
    asked: Rules, queries: int, milliseconds: float, turns: int, broken: list[str]
) -> None:
    samples = Samples(((milliseconds,) * queries,) * turns)

    report = asked.report([samples], turns)

    assert report["broken"] == broken
    assert report["met"] is (not broken)


@given(st.integers(1, 3000), st.floats(0, 20, allow_subnormal=False))
def test_the_turns_ask_for_enough(queries: int, seconds: float) -> None:
    rules = Rules(queries, seconds)

    assert rules.turns * rules.queries_per_turn >= queries
    assert rules.turns * rules.seconds_per_turn >= seconds * (1 - 1e-9)
    assert 1 <= rules.end_to_end_per_turn <= rules.queries_per_turn


def test_an_interrupt_keeps_the_turns_that_are_complete(monkeypatch: pytest.MonkeyPatch) -> None:
    served = Runner(name="served", network="n", model="m", runtime="bundle", file=EMBEDDED_BUNDLE, size=80)
    with RunnerPool([served], 1) as pool:
        ask, asked = pool.ask, []

        def interrupted(key: str, **request: object) -> object:
            asked.append(request["do"])
            if len(asked) == 6:  # two requests in a turn: this one is in the third
                raise KeyboardInterrupt
            return ask(key, **request)

        monkeypatch.setattr(pool, "ask", interrupted)
        found = take_turns(pool, Rules(queries=32, seconds=0), [served.key], [])

    assert found.turns == 2
    assert [len(turn) for turn in found.latency[served.key].turns] == [1, 1]
    assert [len(turn) for turn in found.end_to_end[served.key].turns] == [1, 1]


def test_a_turn_lasts_until_there_are_enough_queries_and_seconds() -> None:
    served = Runner(name="served", network="n", model="m", runtime="bundle", file=EMBEDDED_BUNDLE, size=80)
    with RunnerPool([served], 1) as pool:
        found = take_turns(pool, Rules(queries=2, seconds=0.1), [], []).latency[served.key]

    assert len(found.turns) == 2
    assert all(sum(turn) >= 50 for turn in found.turns)

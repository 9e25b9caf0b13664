"""Statistics of latencies, against distributions that are known."""

import json
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from export.benchmark.samples import Samples

LATENCY = st.floats(0.001, 1e5)
TURNS = st.lists(st.lists(LATENCY, min_size=1, max_size=5), min_size=1, max_size=12)


def samples(turns: object) -> Samples:
    return Samples(tuple(tuple(turn) for turn in turns))  # type: ignore[attr-defined]


@given(TURNS)
def test_json_keeps_samples_and_statistics(turns: list[list[float]]) -> None:
    original = samples(turns)

    copy = Samples.from_json(json.loads(json.dumps(original.to_json())))

    assert copy == original
    assert copy.summary() == original.summary()
    assert all(isinstance(us, int) for turn in original.to_json()["turns_us"] for us in turn)
    flat = [ms for turn in copy.turns for ms in turn]
    assert flat == pytest.approx([ms for turn in turns for ms in turn], abs=0.0005001)


@given(TURNS, st.floats(0.1, 100))
def test_a_percentile_is_the_least_sample_that_enough_are_not_above(turns: list[list[float]], q: float) -> None:
    found = samples(turns)
    values = np.array([ms for turn in found.turns for ms in turn])

    tiny = 1e-9  # of rounding, where the rank is an integer
    assert found.percentile(q) in values
    assert (values < found.percentile(q)).mean() <= q / 100 + tiny
    assert (values <= found.percentile(q)).mean() >= q / 100 - tiny


@given(st.lists(st.lists(st.integers(1, 50_000), min_size=1, max_size=4), min_size=8, max_size=12), st.integers(1, 20))
def test_the_ratio_to_a_scaled_copy_is_the_scale_without_doubt(turns: list[list[int]], scale: int) -> None:
    original = samples([[us / 1e3 for us in turn] for turn in turns])
    slower = samples([[us * scale / 1e3 for us in turn] for turn in turns])

    assert slower.ratio(original) == pytest.approx((scale, scale, scale))
    assert original.ratio(slower, 90) == pytest.approx((1 / scale, 1 / scale, 1 / scale))


@given(TURNS.filter(lambda turns: len(turns) >= 8), st.sampled_from([50, 90, 99]))
def test_an_interval_is_reproducible_and_lies_within_the_samples(turns: list[list[float]], q: int) -> None:
    found = samples(turns)

    interval = found.interval(q)

    assert interval == samples(turns).interval(q)
    assert interval is not None
    assert found.fastest <= interval[0] <= interval[1] <= found.percentile(100)


@pytest.mark.parametrize(("q", "least"), [(50, 0.88), (90, 0.88), (99, 0.84)])
@pytest.mark.parametrize("drift", [0, 0.1])
def test_the_interval_contains_the_true_percentile_even_if_turns_drift(q: int, least: float, drift: float) -> None:
    spread, trials = 0.1, 60
    true = np.exp(np.hypot(drift, spread) * NormalDist().inv_cdf(q / 100))
    generator = np.random.default_rng(q)

    def contains() -> bool:
        turns = generator.normal(0, drift, (64, 1)) + generator.normal(0, spread, (64, 16))
        low, high = samples(np.exp(turns)).interval(q) or (0, 0)
        return bool(low <= true <= high)

    assert sum(contains() for _ in range(trials)) / trials >= least


def test_what_slows_both_runners_down_does_not_widen_their_ratio() -> None:
    generator = np.random.default_rng(0)
    drift = generator.uniform(1, 2, (64, 1))
    one = samples(drift * generator.normal(10, 0.1, (64, 8)))
    other = samples(drift * generator.normal(30, 0.3, (64, 8)))

    value, low, high = other.ratio(one)

    assert value == pytest.approx(3, rel=0.1)
    low_one, high_one = one.interval(50) or (0, 0)
    assert low is not None
    assert high is not None
    assert (high - low) / value < (high_one - low_one) / one.percentile(50) / 2


@given(st.integers(1, 3000))
def test_a_percentile_needs_ten_samples_beyond_it(n: int) -> None:
    found = samples([[1.0] * n])

    assert (found.supports(50), found.supports(90), found.supports(99)) == (n >= 20, n >= 100, n >= 1000)
    assert (found.summary()["p99"] is None) == (n < 1000)


def test_few_turns_have_no_interval() -> None:
    few = samples([[1.0] * 1000] * 7)

    assert few.interval(50) is None
    assert few.ratio(few) == (1, None, None)
    assert few.summary()["p99"] == {"ms": 1.0, "low": None, "high": None}


@pytest.mark.parametrize("turns", [[], [[]], [[1.0], []], [[-1.0]], [[float("nan")]], [[float("inf")]]])
def test_impossible_samples_are_refused(turns: list[list[float]]) -> None:
    with pytest.raises(ValueError, match="latencies"):
        samples(turns)


def test_a_ratio_compares_a_runner_of_many_samples_with_one_of_few() -> None:
    many, few = samples([[1.0, 2.0, 3.0] * 300] * 8), samples([[4.0]] * 8)

    assert few.ratio(many) == (2, 2, 2)
    assert many.ratio(few) == (0.5, 0.5, 0.5)


def test_a_ratio_needs_the_same_turns() -> None:
    with pytest.raises(ValueError, match="1 and 2"):
        samples([[1.0]]).ratio(samples([[1.0], [1.0]]))

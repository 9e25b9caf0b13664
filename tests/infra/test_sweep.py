"""The sweep over memory sizes: its arithmetic, its recommendation, and a short run with real containers."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handler.contract import EMBEDDED_BUNDLE, load_bundle
from infra.cost import LAMBDA_GB_SECOND, LAMBDA_MILLION_REQUESTS, PRICES
from infra.engine import docker
from infra.instance import vcpus
from infra.sizing import Size, dollars_per_million, percentiles, recommended, size
from infra.sweep import main
from infra.sweep_report import Sweep, table
from tests.infra.engine import require_emulator

MS = st.floats(min_value=0.1, max_value=60_000)
MEMORY = st.integers(min_value=128, max_value=10240)
SIZES = st.lists(
    st.tuples(MEMORY, st.lists(MS, min_size=1, max_size=20)), min_size=1, max_size=9, unique_by=lambda pair: pair[0]
)


def measured(memory: int, durations: list[float], cores: int = 6) -> Size:
    return size(
        memory,
        cores,
        cold_s=[1.0],
        init_ms=[900.0],
        duration_ms=durations,
        billed_ms=[math.ceil(ms) for ms in durations],
        round_trip_ms=durations,
    )


@given(st.lists(MS, min_size=1), st.randoms())
def test_percentiles_are_ordered_within_the_values_and_blind_to_their_order(
    values: list[float], random: Random
) -> None:
    found = percentiles(values)
    assert min(values) <= found.p50 <= found.p95 <= found.p99 <= max(values)
    random.shuffle(values)
    assert percentiles(values) == found


def test_percentiles_of_a_known_row() -> None:
    found = percentiles([float(value) for value in range(101)])
    assert (found.p50, found.p95, found.p99) == pytest.approx((50, 95, 99))


@given(MS, MEMORY, st.sampled_from(sorted(LAMBDA_GB_SECOND)))
def test_a_million_predictions_cost_their_gigabyte_seconds_and_their_requests(
    ms: float, memory: int, architecture: str
) -> None:
    gb_seconds = 1_000_000 * ms / 1000 * memory / 1024
    expected = gb_seconds * LAMBDA_GB_SECOND[architecture] + LAMBDA_MILLION_REQUESTS
    assert dollars_per_million(ms, memory, architecture) == pytest.approx(expected)


def test_a_million_of_a_second_on_a_gigabyte_cost_what_the_price_list_says() -> None:
    assert dollars_per_million(1000, 1024, "x86_64") == pytest.approx(16.6667 + 0.20)


@given(SIZES, st.floats(min_value=1, max_value=3), st.sampled_from(sorted(LAMBDA_GB_SECOND)))
def test_the_rule_takes_the_cheapest_of_those_that_are_fast_enough(
    pairs: list[tuple[int, list[float]]], within: float, architecture: str
) -> None:
    sizes = [measured(memory, durations) for memory, durations in pairs]
    chosen = recommended(sizes, architecture, within)
    best = min(each.duration_ms.p95 for each in sizes)
    assert chosen.duration_ms.p95 <= within * best
    for each in sizes:
        if each.duration_ms.p95 <= within * best:
            price, other = chosen.dollars_per_million[architecture], each.dollars_per_million[architecture]
            assert price < other or (price == other and chosen.memory_mb <= each.memory_mb)


@given(SIZES, st.integers(min_value=1, max_value=6))
def test_a_size_with_less_cpu_than_on_lambda_neither_wins_nor_sets_the_mark(
    pairs: list[tuple[int, list[float]]], cores: int
) -> None:
    sizes = [measured(memory, durations, cores) for memory, durations in pairs]
    whole = [each for each in sizes if vcpus(each.memory_mb) <= cores]
    assert [each for each in sizes if each.whole] == whole
    if whole:
        assert recommended(sizes, "x86_64") == recommended(whole, "x86_64")
    else:
        with pytest.raises(ValueError, match="--sizes"):
            recommended(sizes, "x86_64")


def test_one_vcpu_for_each_1769_mb_and_never_more_than_six() -> None:
    assert [vcpus(memory) for memory in (1769, 3538)] == [1, 2]
    assert vcpus(512) == pytest.approx(0.2894, abs=1e-4)
    assert vcpus(10240) == pytest.approx(5.7886, abs=1e-4)
    assert vcpus(1769 * 7) == 6


def test_nothing_measured_is_nothing_summed_up() -> None:
    with pytest.raises(ValueError, match="at least one"):
        measured(512, [])


@pytest.mark.parametrize("wrong", [["--sizes", "64"], ["--sizes", "20480"], ["--cold", "0"], ["--warm", "0"]])
def test_arguments_that_make_no_sense_are_refused(wrong: list[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(wrong)


def test_what_is_missing_or_too_large_is_said_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--xray", str(tmp_path / "none.png")]) == 2
    (tmp_path / "large.png").write_bytes(bytes(5 << 20))
    assert main(["--xray", str(tmp_path / "large.png")]) == 2
    missing, large = capsys.readouterr().err.splitlines()
    assert "none.png" in missing
    assert "6 MB" in large


@pytest.fixture(scope="module")
def name(image: Callable[[str], str]) -> str:
    """The image, if it and the emulator are available."""
    require_emulator()
    return image("lambda")


@pytest.mark.slow
def test_a_run_on_containers_measures_and_recommends(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cores = int(docker("info", "--format", "{{.NCPU}}"))
    out = tmp_path / "sweep"
    wanted = ["--image", name, "--sizes", "10240,1769", "--cold", "2", "--warm", "3", "--out", str(out)]
    assert main(wanted) == 0
    printed = capsys.readouterr().out
    kept = json.loads((out / "sweep.json").read_text(encoding="utf-8"))
    assert list(kept)[:4] == ["date", "machine", "model", "image"]
    assert set(kept) >= {"xray_bytes", "within", "recommended_mb", "sizes", "prices"}
    assert kept["machine"]["cores"] == cores
    assert kept["machine"]["cpu"]
    assert ("The machine was busy" in printed) == (kept["machine"]["load"] > cores / 4)
    assert kept["image"]["name"] == name
    assert kept["model"]["version"] == load_bundle(EMBEDDED_BUNDLE)[0].version
    assert kept["prices"] == PRICES
    one, all_of_it = kept["sizes"]
    assert (one["memory_mb"], all_of_it["memory_mb"]) == (1769, 10240)
    assert one["measured_vcpus"] == one["vcpus"] == 1
    assert all_of_it["measured_vcpus"] == min(all_of_it["vcpus"], cores)
    for found in (one, all_of_it):
        assert (found["cold_starts"], found["predictions"]) == (2, 6)
        assert 0 < found["init_s_p50"] < found["cold_s_p50"] <= found["cold_s_max"]
        warm = found["duration_ms"]
        assert 0 < warm["p50"] <= warm["p95"] <= warm["p99"]
        assert warm["p50"] <= found["round_trip_ms"]["p50"]
        for architecture, dollars in found["dollars_per_million"].items():
            assert dollars == pytest.approx(dollars_per_million(found["billed_ms"], found["memory_mb"], architecture))
    if cores < 6:
        assert kept["recommended_mb"] == 1769
        assert f"({cores} here)" in printed
    text = (out / "sweep.md").read_text(encoding="utf-8")
    assert printed.startswith(text)
    assert table(Sweep.from_json(kept)) + "\n" == text
    assert f"MemorySize {kept['recommended_mb']}" in printed
    assert printed.splitlines()[-2] == f"results in {out}/sweep.json, sweep.md and sweep.png"
    assert printed.splitlines()[-1].startswith("next: make deploy")
    assert (out / "sweep.png").read_bytes().startswith(b"\x89PNG")
    assert sorted(path.name for path in out.iterdir()) == ["sweep.json", "sweep.md", "sweep.png"]


@pytest.mark.slow
def test_json_goes_to_programs_and_an_xray_that_is_none_is_an_error(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = ["--image", name, "--sizes", "1769", "--cold", "1", "--warm", "1", "--out", str(tmp_path / "sweep")]
    assert main([*wanted, "--json"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out) == json.loads((tmp_path / "sweep" / "sweep.json").read_text(encoding="utf-8"))
    assert "results in" in said.err
    (tmp_path / "text.png").write_text("no X-ray")
    assert main([*wanted, "--xray", str(tmp_path / "text.png")]) == 2
    assert "does not score the X-ray" in capsys.readouterr().err

"""The parts of a warm request, through the command line."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from export.benchmark.lambda_context import LambdaContext


def test_the_warm_path_adds_up(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "export", "benchmark", "--warm-path", "--rounds", "9", "--json"]
    done = subprocess.run([*command, "--out", str(tmp_path)], check=True, capture_output=True, text=True)

    result = json.loads(done.stdout)
    parts = result["parts"]
    medians = {name: part["p50"]["ms"] for name, part in parts.items()}
    assert all(part["p50"]["high"] >= part["p50"]["ms"] > 0 for part in parts.values())
    assert all(part["p99"] is None for part in parts.values()), "9 samples do not support it"
    assert medians["request"] > max(medians["request: decode"], medians["request: inference"])
    assert result["decode_ratio"]["value"] == pytest.approx(medians["decode"] / medians["plain decode"])
    isolated = medians["isolated decode"] / medians["plain decode"]
    assert result["isolated_decode_ratio"]["value"] == pytest.approx(isolated)
    assert json.loads((tmp_path / "warm_path.json").read_text()) == result


def test_the_context_tells_the_handler_how_much_time_is_left() -> None:
    context = LambdaContext()

    first, second = context.get_remaining_time_in_millis(), context.get_remaining_time_in_millis()
    assert 0 <= second <= first <= 29_000

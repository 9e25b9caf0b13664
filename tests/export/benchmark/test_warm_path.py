"""The parts of a warm request, through the command line."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from export.benchmark.lambda_context import LambdaContext


def test_the_warm_path_adds_up(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "export", "benchmark", "--warm-path", "--rounds", "5", "--json"]
    done = subprocess.run([*command, "--out", str(tmp_path)], check=True, capture_output=True, text=True)

    result = json.loads(done.stdout)
    parts = result["parts"]
    assert all(part["p99_ms"] >= part["p50_ms"] > 0 for part in parts.values())
    assert parts["request"]["p50_ms"] > max(parts["request: decode"]["p50_ms"], parts["request: inference"]["p50_ms"])
    assert result["decode_ratio"] == pytest.approx(parts["decode"]["p50_ms"] / parts["plain decode"]["p50_ms"])
    isolated = parts["isolated decode"]["p50_ms"] / parts["plain decode"]["p50_ms"]
    assert result["isolated_decode_ratio"] == pytest.approx(isolated)
    assert json.loads((tmp_path / "warm_path.json").read_text()) == result


def test_the_context_tells_the_handler_how_much_time_is_left() -> None:
    context = LambdaContext()

    first, second = context.get_remaining_time_in_millis(), context.get_remaining_time_in_millis()
    assert 0 <= second <= first <= 29_000

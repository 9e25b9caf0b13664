"""`python -m export benchmark` with the network of `conftest.py`."""

import json
from pathlib import Path
from typing import Any

import pytest

from export.__main__ import main

SIZE = 64
"""Width and height of the network's images."""

TRIAL = ("--queries", "8", "--seconds", "0")


def arguments(folder: Path, *more: str) -> list[str]:
    network = ["--network", str(folder / "network.keras"), "--size", str(SIZE)]
    bundle = ["--bundle", str(folder / "bundle")]
    return ["benchmark", *network, *bundle, "--out", str(folder / "out"), *more]


def run(folder: Path, capsys: pytest.CaptureFixture[str], *more: str) -> dict[str, Any]:
    assert main(arguments(folder, "--json", *more)) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def measured(result: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in result["runners"] if row["status"] == "measured"}

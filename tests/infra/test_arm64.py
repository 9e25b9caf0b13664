"""The same decisions on arm64: the wheels of the image's lock file on an emulated Neoverse N1."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from handler.http.endpoints import PAGE
from infra.engine import ROOT

CPU = "neoverse-n1"
OLDEST_EMULATOR = 10
"""Version 7.2 crashes when onnxruntime is imported."""

COUNT = 110
TOLERANCE = 1e-5
"""Tolerance of probabilities. Measured differences are below 1.2e-7."""


@pytest.fixture(scope="module")
def arm64() -> list[str]:
    """The beginning of a command that runs Python for arm64."""
    if "ARM64_ROOT" not in os.environ:
        pytest.skip("ARM64_ROOT names no folder that tests/infra/arm64_root.sh made")
    root = Path(os.environ["ARM64_ROOT"])
    emulator = root / "emulator" / "usr" / "bin" / "qemu-aarch64"
    said = subprocess.run([emulator, "--version"], capture_output=True, text=True, check=True).stdout
    version = re.search(r"version (\d+)", said)
    if version is None or int(version[1]) < OLDEST_EMULATOR:
        pytest.skip(f"needs qemu-user {OLDEST_EMULATOR} or later: {said.splitlines()[0]}")
    python = root / "debian" / "usr" / "bin" / "python3.13"
    paths = f"PYTHONPATH={root / 'python'}:{ROOT}"
    return [str(part) for part in (emulator, "-cpu", CPU, "-L", root / "debian", "-E", paths, python)]


# Without the decoder's processes: the system cannot start programs for another CPU, and no limits are tested here.
SCRIPT = """
import json, pathlib, sys
from handler.classifier import Classifier
from handler.imaging.decode import decode
from handler.scoring import Predictor

predictor = Predictor(Classifier(), decode)
print(json.dumps([predictor.predict(pathlib.Path(name).read_bytes(), force=True) for name in sys.argv[1:]]))
"""


def predictions(command: list[str], images: list[Path]) -> list[dict]:
    done = subprocess.run([*command, "-c", SCRIPT, *map(str, images)], cwd=ROOT, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


def assert_same(arm64: list[str], images: list[Path]) -> set[str]:
    here, there = predictions([sys.executable], images), predictions(arm64, images)
    for ours, theirs in zip(here, there, strict=True):
        assert theirs["label"] == ours["label"]
        assert theirs["probabilities"] == pytest.approx(ours["probabilities"], abs=TOLERANCE)
    return {each["label"] for each in here}


@pytest.mark.slow
def test_arm64_scores_the_page_s_image_as_this_machine_does(arm64: list[str]) -> None:
    assert_same(arm64, [PAGE / "phantom.png"])


@pytest.mark.slow
def test_arm64_decides_as_this_machine_does(arm64: list[str], xrays: Path) -> None:
    files = sorted(xrays.glob("train/*/*.jpeg"))
    assert len(assert_same(arm64, files[:: len(files) // COUNT][:COUNT])) == 2

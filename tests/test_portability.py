"""The same decisions on a CPU without VNNI, on which int8 products may saturate: qemu emulates an old CPU."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

COUNT = 100


@pytest.mark.slow
def test_an_old_cpu_decides_as_this_one_does(xrays: Path) -> None:
    qemu = shutil.which("qemu-x86_64") or pytest.skip("needs qemu-x86_64, from Debian's package qemu-user")
    files = sorted(xrays.glob("train/*/*.jpeg"))
    chosen = [str(path) for path in files[:: len(files) // COUNT][:COUNT]]
    predict = ["-m", "handler", "predict", "--json", "--force", *chosen]

    here, there = (
        json.loads(subprocess.run([*command, *predict], check=True, capture_output=True).stdout)["predictions"]
        for command in ([sys.executable], [qemu, "-cpu", "Haswell", sys.executable])
    )

    pairs = [(a["label"], b["label"]) for a, b in zip(here, there, strict=True)]
    assert {label for pair in pairs for label in pair} == {"NORMAL", "PNEUMONIA"}
    assert sum(a != b for a, b in pairs) <= 1

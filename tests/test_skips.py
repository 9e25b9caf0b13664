"""The last words of a test run: what was skipped and why."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

TESTS = """
import pytest

@pytest.mark.skipif(True, reason="no engine: start one")
@pytest.mark.parametrize("number", range(3))
def test_engine(number): pass

def test_tool(): pytest.skip("no tool")

def test_passes(): pass
"""
MODULE = "import pytest; pytest.skip('no browser', allow_module_level=True)"


@pytest.mark.parametrize("options", [[], ["-n", "2"]], ids=["one process", "two"])
def test_one_line_names_what_was_skipped_and_why(options: list[str], tmp_path: Path) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]")
    (tmp_path / "test_some.py").write_text(TESTS)
    (tmp_path / "test_page.py").write_text(MODULE)

    command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.conftest", "-p", "no:cacheprovider", *options]
    done = subprocess.run([*command, tmp_path], cwd=REPOSITORY, capture_output=True, text=True, check=True)

    *_, line, last = done.stdout.splitlines()
    assert line.startswith("skipped 5: 3 (no engine: start one); ")
    assert set(line.partition(": ")[2].split("; ")) == {"3 (no engine: start one)", "1 (no tool)", "1 (no browser)"}
    assert last.startswith("1 passed, 5 skipped")

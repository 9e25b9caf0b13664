"""What the Makefile says on a machine that lacks something, and what `make test` installs."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY


def make(*words: object, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")} | variables
    command = ["make", *map(str, words)]
    return subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture
def old_python(tmp_path: Path) -> Path:
    """Stands in for a Python that is too old: it says which one it is, and refuses everything else."""
    path = tmp_path / "python"
    path.write_text('#!/bin/sh\n[ "$1" = --version ] && echo Python 3.10.1\n')
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(("target", "newest"), [("serve", "3.14"), ("test", "3.13")])
def test_a_wrong_python_is_named_with_the_remedy(target: str, newest: str, old_python: Path, tmp_path: Path) -> None:
    done = make(target, f"PYTHON={old_python}", f"VENV={tmp_path / 'venv'}")

    assert done.returncode != 0
    first, second = done.stderr.splitlines()[:2]
    assert first.startswith(f"error: this needs Python 3.11 to {newest} (")
    assert first.endswith(f"and {old_python} is Python 3.10.1.")
    assert second == f"Install one and name it: make {target} PYTHON=python3.13"


def test_a_wrong_python_is_named_although_there_is_an_environment(old_python: Path, tmp_path: Path) -> None:
    (tmp_path / "venv").mkdir()
    (tmp_path / "venv" / "serving").touch()

    done = make("serve", f"PYTHON={old_python}", f"VENV={tmp_path / 'venv'}")

    assert f"and {old_python} is Python 3.10.1." in done.stderr


def test_a_python_that_is_not_there_is_named(tmp_path: Path) -> None:
    done = make("serve", "PYTHON=no-such-python", f"VENV={tmp_path / 'venv'}")

    assert "and no-such-python is missing." in done.stderr


@pytest.mark.parametrize("target", ["sam-local", "deploy"])
def test_what_needs_docker_says_so_before_it_installs_anything(target: str, tmp_path: Path) -> None:
    done = make(target, DOCKER_HOST=f"unix://{tmp_path}/nobody.sock")

    assert done.returncode != 0
    assert done.stdout == ""
    assert f"error: make {target} needs a running Docker engine" in done.stderr
    assert "start Docker" in done.stderr


@pytest.mark.parametrize(
    ("target", "remedy"),
    [
        ("figures", "make figures PREPARED=data/prepared ADULTS=DIR"),
        ("smoke", "make smoke URL=https://..."),
        ("space", "make space REPO=USER/NAME"),
    ],
)
def test_what_needs_a_name_says_so_before_it_installs_anything(target: str, remedy: str, tmp_path: Path) -> None:
    done = make(target, f"VENV={tmp_path / 'venv'}", "URL=", "REPO=", "ADULTS=")

    assert done.returncode != 0
    assert done.stdout == ""
    assert done.stderr.startswith("error: name ")
    assert remedy in done.stderr.splitlines()[0]
    assert not (tmp_path / "venv").exists()


def test_the_tests_get_the_tools_of_the_template() -> None:
    planned = make("--dry-run", "--always-make", "test").stdout

    for lock in ("requirements-dev.lock", "infra/sam.lock", "infra/checkov.lock"):
        assert f"--requirement {lock}" in planned
    assert planned.splitlines()[-1].startswith(".venv/bin/python -m pytest")

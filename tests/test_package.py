"""The wheel contains all files for serving, and its installation gives the same answers as the checkout."""

import json
import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import REPOSITORY

pytestmark = pytest.mark.slow

LOADED = {".py", ".json", ".onnx", ".html", ".js", ".css", ".jpg", ".typed"}
IMAGE = REPOSITORY / "handler" / "page" / "phantom.png"
PACKAGES = ("handler", "training", "export", "infra")
SCRIPTS = sorted(tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]["scripts"])


def pip(*arguments: object) -> None:
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *map(str, arguments)]
    subprocess.run(command, check=True)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    pip("wheel", "--no-deps", "--wheel-dir", folder, REPOSITORY)
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel unpacked; its dependencies are those of the environment that runs the tests."""
    folder = tmp_path_factory.mktemp("installed")
    pip("install", "--no-deps", "--no-index", "--target", folder, wheel)
    return folder


def run(*command: object, installed: Path | None, folder: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    if installed:
        environment["PYTHONPATH"] = str(installed)
    words = [str(part) for part in command]
    return subprocess.run(
        words, cwd=folder, env=environment, check=True, stdout=subprocess.PIPE, text=True, timeout=120
    ).stdout


def answer(text: str) -> dict[str, Any]:
    """A prediction without the values that differ between runs."""
    found: dict[str, Any] = json.loads(text)
    for prediction in found["predictions"]:
        del prediction["timings"]
    return found


def test_the_wheel_holds_every_file_that_the_packages_load(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        held = set(archive.namelist())
    loaded = {
        path.relative_to(REPOSITORY).as_posix()
        for package in PACKAGES
        for path in (REPOSITORY / package).rglob("*")
        if path.suffix in LOADED and "figures" not in path.parts
    } | {"handler/page/phantom.png", "handler/model/README.md", "infra/lambda-entrypoint.sh"}
    assert loaded <= held
    assert {f"{package}/py.typed" for package in PACKAGES} <= held
    assert {name.partition("/")[0] for name in held if ".dist-info/" not in name} == set(PACKAGES)
    assert not [name for name in held if name.endswith((".pyc", ".lock"))]


def test_what_is_installed_answers_as_the_checkout_does(installed: Path, tmp_path: Path) -> None:
    where = run(sys.executable, "-c", "import handler; print(handler.__file__)", installed=installed, folder=tmp_path)
    assert Path(where.strip()).is_relative_to(installed)

    predict = ("predict", "--json", IMAGE)
    expected = answer(run(sys.executable, "-m", "handler", *predict, installed=None, folder=REPOSITORY))
    module = run(sys.executable, "-m", "handler", *predict, installed=installed, folder=tmp_path)
    script = run(installed / "bin" / "xray", *predict, installed=installed, folder=tmp_path)
    assert answer(module) == answer(script) == expected


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_command_starts(script: str, installed: Path, tmp_path: Path) -> None:
    assert "usage: " in run(installed / "bin" / script, "--help", installed=installed, folder=tmp_path)

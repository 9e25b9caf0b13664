"""`infra.trim` without Docker: it deletes files of a small tree, and the service runs with the remaining files."""

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from infra.trim import UNUSED, trim
from tests.conftest import REPOSITORY

IMAGE_LOCK = REPOSITORY / "requirements-image.lock"


def locked() -> list[str]:
    """The packages of the image."""
    return re.findall(r"^([\w.-]+)==", IMAGE_LOCK.read_text(encoding="utf-8"), re.MULTILINE)


@pytest.fixture(scope="module")
def trimmed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trimmed copy of the image's packages in the versions of this environment."""
    if sys.platform != "linux" or shutil.which("strip") is None:
        pytest.skip("the image is one of Linux: needs Linux, and strip from Debian's package binutils")
    root = tmp_path_factory.mktemp("packages")
    for name in locked():
        try:
            files = importlib.metadata.files(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue  # for another platform or another Python
        for file in files:
            target = root / ("bin/" + file.name if file.parts[0] == ".." else file)
            if "__pycache__" not in file.parts and (source := Path(str(file.locate()))).is_file():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, target)
    trim(root)
    return root


@pytest.mark.slow
def test_the_service_runs_on_what_is_left(trimmed: Path) -> None:
    script = "from handler.__main__ import main; import sys; sys.exit(main())"
    image = REPOSITORY / "handler" / "page" / "phantom.png"
    found = subprocess.run(
        [sys.executable, "-S", "-c", script, "predict", "--json", str(image)],  # -S: only these packages
        env=os.environ | {"PYTHONPATH": f"{trimmed}{os.pathsep}{REPOSITORY}"},
        cwd=REPOSITORY,
        check=True,
        capture_output=True,
        text=True,
    )
    assert '"label":"NORMAL"' in found.stdout


@pytest.mark.slow
def test_only_compiled_modules_are_left(trimmed: Path) -> None:
    left = [path for path in trimmed.rglob("*") if path.is_file()]
    assert not [path for path in left if path.suffix in (".py", ".pyi", ".h", ".a", ".c")]
    assert not [path for path in left if {"tests", "test"} & set(path.relative_to(trimmed).parts)]
    assert (trimmed / "PIL" / "Image.pyc").is_file()
    for pattern in UNUSED:
        assert not list(trimmed.glob(pattern))
    for package in ("boto3", "botocore"):
        services = {path.name for path in (trimmed / package / "data").iterdir() if path.is_dir()}
        assert services <= {"s3", "sts"}
    assert (trimmed / "botocore" / "data" / "s3").is_dir()


def test_a_pattern_that_matches_nothing_is_named(tmp_path: Path) -> None:
    (tmp_path / "PIL").mkdir()
    with pytest.raises(FileNotFoundError, match=re.escape(next(iter(UNUSED)))):
        trim(tmp_path)

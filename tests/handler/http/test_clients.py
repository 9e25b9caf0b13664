"""Clients generated from the served OpenAPI document: names, types, and an image that one of them scores."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import httpx2
import pytest

from tests.conftest import REPOSITORY
from tests.handler.load import serving

pytestmark = pytest.mark.slow

README = REPOSITORY / "handler" / "README.md"


def run(*command: str | Path, cwd: Path, **environment: str) -> str:
    """What the command prints. It is an error if it fails."""
    done = subprocess.run(command, capture_output=True, text=True, cwd=cwd, env={**os.environ, **environment})
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serving() as (address, _):
        yield address


@pytest.fixture(scope="module")
def document(url: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("document") / "openapi.json"
    path.write_bytes(httpx2.get(f"{url}/openapi.json").raise_for_status().content)
    return path


@pytest.fixture(scope="module")
def python_client(document: Path) -> Path:
    """The folder with the package `xray_client`."""
    pytest.importorskip("openapi_python_client", reason="openapi-python-client is not installed: install `dev`")
    config = document.with_name("config.json")
    config.write_text(json.dumps({"post_hooks": []}), encoding="utf-8")  # it would only format the code
    options = ["--path", document, "--config", config, "--meta", "none", "--output-path", "xray_client"]
    run(
        *(sys.executable, "-m", "openapi_python_client", "generate", "--fail-on-warning", *options),
        cwd=document.parent,
    )
    return document.parent


@pytest.fixture(scope="module")
def snippet(url: str) -> str:
    """The program of the README, for the server of this test."""
    text = README.read_text(encoding="utf-8")
    [code] = [code for code in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "xray_client" in code]
    assert "http://localhost:8000" in code
    return code.replace("http://localhost:8000", url)


def test_the_names_of_the_python_client_are_short(python_client: Path) -> None:
    package = python_client / "xray_client"
    functions = {
        f"{path.parent.name}.{path.stem}" for path in (package / "api").glob("*/*.py") if path.stem != "__init__"
    }
    classes = re.findall(r'^    "(\w+)",$', (package / "models" / "__init__.py").read_text(), re.MULTILINE)

    assert functions == {
        *("predictions.predict", "uploads.create_upload", "model.get_model", "status.health", "status.ready"),
    }
    assert {"Answer", "Prediction", "Failure", "Problem", "FilesForm", "Base64Item", "ModelCard"} <= set(classes)
    assert max(map(len, classes)) < len("BodyPredictV1PredictionsPost")


def test_the_python_client_scores_an_image_as_the_readme_says(python_client: Path, snippet: str) -> None:
    printed = run(sys.executable, "-W", "error", "-c", snippet, cwd=REPOSITORY, PYTHONPATH=str(python_client))

    assert re.fullmatch(r"phantom\.png NORMAL \d\.\d%\n", printed)
    assert f"\n{printed}```" in README.read_text(encoding="utf-8")


def test_the_types_of_the_python_client_hold(python_client: Path, snippet: str) -> None:
    checked, wrong = python_client / "snippet.py", python_client / "wrong.py"
    checked.write_text(snippet, encoding="utf-8")
    wrong.write_text(snippet.replace("item.label", "item.lable"), encoding="utf-8")
    command = [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", "--config-file="]

    run(*command, checked, cwd=python_client)
    with pytest.raises(AssertionError, match='"Prediction" has no attribute "lable"'):
        run(*command, wrong, cwd=python_client)


def test_a_problem_is_typed_too(python_client: Path, url: str) -> None:
    code = (
        "from io import BytesIO\n"
        "from xray_client import Client\n"
        "from xray_client.api.predictions import predict\n"
        "from xray_client.models import Problem\n"
        "from xray_client.types import File\n"
        f"problem = predict.sync(client=Client(base_url={url!r}), body=File(payload=BytesIO()))\n"
        "assert isinstance(problem, Problem)\n"
        "print(problem.status, problem.type_)"
    )

    printed = run(sys.executable, "-W", "error", "-c", code, cwd=python_client)

    assert printed == "400 urn:problem-type:xray:empty-input\n"


def test_the_types_of_typescript_hold(document: Path) -> None:
    path = os.pathsep.join([str(REPOSITORY / "node_modules" / ".bin"), os.environ.get("PATH", "")])
    generate, compile_ = (shutil.which(name, path=path) for name in ("openapi-typescript", "tsc"))
    if not (generate and compile_):
        pytest.skip(
            "openapi-typescript or tsc is not installed: npm install --no-save openapi-typescript@7 typescript@5"
        )
    folder = document.parent
    usage = Path(__file__).with_name("usage.ts").read_text(encoding="utf-8")
    (folder / "usage.ts").write_text(usage, encoding="utf-8")
    (folder / "wrong.ts").write_text(usage.replace("prediction.label}", "prediction.lable}"), encoding="utf-8")

    run(generate, document, "--output", folder / "xray.d.ts", cwd=folder)

    options = ["--noEmit", "--strict", "--target", "es2022", "--module", "esnext", "--moduleResolution", "bundler"]
    compile_strictly = partial(run, compile_, *options, "--lib", "es2022,dom", cwd=folder)
    assert compile_strictly("usage.ts") == ""
    with pytest.raises(AssertionError, match="Property 'lable' does not exist"):
        compile_strictly("wrong.ts")

"""The template in SAM's emulation: it is built, served, and called with curl."""

import base64
import json
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from infra.engine import ROOT
from infra.smoke import smoke
from tests.handler.images import dicom, jpeg
from tests.infra.engine import free_port, require_tool, run, sam_environment, wait_until_up

pytestmark = pytest.mark.slow

EVENTS = sorted((ROOT / "tests" / "handler" / "events").glob("*.json"))


@pytest.fixture(scope="module")
def built(image: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder that `sam build` filled."""
    sam = require_tool("sam")
    image("sam")  # builds the layers first, so that only SAM is timed below
    folder = tmp_path_factory.mktemp("sam") / "build"
    done = run(sam, "build", "--build-dir", folder, "--no-cached", env=sam_environment())
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module", params=["FrontDoor=REST_API SnapStart=OFF", "FrontDoor=FUNCTION_URL SnapStart=ON"])
def url(built: Path, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[str]:
    """`sam local start-api`. It serves the REST API for every front door."""
    port = free_port()
    log = tmp_path_factory.mktemp("log") / "sam"
    command = [require_tool("sam"), "local", "start-api", *of(built), "--port", port]
    command += ["--parameter-overrides", *request.param.split()]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(part) for part in command],
            env=sam_environment(),
            cwd=ROOT,
            stdout=output,
            stderr=output,
            # Tests in the background of a shell inherit that this signal is ignored.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
    try:
        wait_until_up(f"http://127.0.0.1:{port}/healthz", seconds=180)
        yield f"http://127.0.0.1:{port}"
    finally:
        print(log.read_text()[-3000:])
        process.send_signal(signal.SIGINT)  # SAM then removes its containers
        process.wait(timeout=60)


def of(built: Path) -> tuple[object, ...]:
    """Options for a build in another folder than SAM's default."""
    return "--template", built / "template.yaml", "--config-file", ROOT / "samconfig.toml"


def curl(*arguments: object) -> tuple[int, Any]:
    done = run("curl", "--silent", "--show-error", "--write-out", "\n%{http_code}", *arguments)
    assert done.returncode == 0, done.stderr
    body, _, status = done.stdout.rpartition("\n")
    return int(status), json.loads(body)


def test_the_smoke_test_passes(url: str) -> None:
    results = smoke(url, lambda _request: None)
    assert all(right for _, right, _ in results), results


def test_curl_sends_every_kind_of_image(url: str, tmp_path: Path) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    (tmp_path / "chest.jpg").write_bytes(jpeg())
    (tmp_path / "chest.dcm").write_bytes(dicom())
    (tmp_path / "chest.json").write_text(json.dumps({"image": base64.b64encode(jpeg()).decode()}))
    where = f"{url}/v1/predictions?force=true"
    form = curl("--form", f"file=@{tmp_path}/chest.jpg", where)
    raw = curl("--header", "Content-Type: image/jpeg", "--data-binary", f"@{tmp_path}/chest.jpg", where)
    text = curl("--header", "Content-Type: application/json", "--data", f"@{tmp_path}/chest.json", where)
    medical = curl("--header", "Content-Type: application/dicom", "--data-binary", f"@{tmp_path}/chest.dcm", where)
    for status, body in (form, raw, text, medical):
        assert status == 200, body
        assert len(body["predictions"]) == 1
    scores = [body["predictions"][0]["probabilities"]["PNEUMONIA"] for _, body in (form, raw, text)]
    assert scores[0] == scores[1] == scores[2]


@pytest.mark.parametrize("event", EVENTS, ids=lambda path: path.stem)
def test_sam_invokes_with_every_stored_event(built: Path, event: Path) -> None:
    command = (require_tool("sam"), "local", "invoke", "InferenceFunction", *of(built), "--event", event)
    done = run(*command, env=sam_environment())
    answer = json.loads(done.stdout.strip().splitlines()[-1])
    if "httpMethod" in event.read_text() or "rawPath" in event.read_text():
        assert answer["statusCode"] == 200, answer
    elif event.stem in ("warm_up", "schedule"):
        assert answer["warm"] is True
    elif event.stem.startswith("queue"):
        # Without access to buckets, every message with an image is received again.
        assert len(answer["batchItemFailures"]) >= 1
    else:
        errors = {"unknown": "UnknownEvent", "map_batch": "BucketNotAllowed"}  # notifications: no address for results
        assert answer["errorType"] == errors.get(event.stem, "SettingsError"), answer

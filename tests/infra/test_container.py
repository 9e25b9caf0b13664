"""The container images: their size, and that they answer with a read-only file system and without a network."""

import base64
import json
import os
import re
import shutil
import sys
import threading
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import pytest

from export.hub import publish
from handler.classifier import Classifier
from handler.contract import CONTRACT_FILE, EMBEDDED_BUNDLE, MODEL_FILE, Contract, load_bundle
from infra.engine import EMULATOR_PLACE, ROOT, container_log, docker
from infra.golden import golden
from infra.layers import above_base, contents, table
from infra.smoke import smoke
from tests.handler.costly import jpeg, tall_tiles
from tests.handler.events import load
from tests.handler.images import encode, phantom
from tests.handler.images import jpeg as jpeg_image
from tests.hub_server import HubServer
from tests.infra.engine import (
    RUN_READ_ONLY,
    container,
    free_port,
    require_emulator,
    run,
    wait_until_up,
)
from tests.infra.front_door import EVENTS, front_door

pytestmark = pytest.mark.slow

Image = Callable[[str], str]

MAX_ABOVE_BASE = 150_000_000

INVOKE = """
import sys, time, urllib.error, urllib.request
url = "http://127.0.0.1:8080/2015-03-31/functions/function/invocations"
for attempt in range(100):
    try:
        print(urllib.request.urlopen(url, EVENT, timeout=60).read().decode())
        break
    except urllib.error.URLError:  # not up yet
        time.sleep(0.3)
"""

ASK_SERVER = """
import time, urllib.error, urllib.request
url = "http://127.0.0.1:7860/v1/predictions?force=true"
for attempt in range(100):
    try:
        request = urllib.request.Request(url, {body!r}, {{"Content-Type": "image/jpeg"}})
        print(urllib.request.urlopen(request, timeout=60).status, end="")
        break
    except urllib.error.URLError:  # not up yet
        time.sleep(0.3)
"""


def invoke(identity: str, event: object) -> dict[str, Any]:
    """Send an event from inside the container, because the container has no network."""
    script = f"EVENT = {json.dumps(event).encode()!r}\n{INVOKE}"
    return dict(json.loads(run("docker", "exec", "--interactive", identity, "python", "-", input=script).stdout))


def test_every_megabyte_above_the_base_is_accounted_for(image: Image) -> None:
    for target in ("lambda", "server"):
        name = image(target)
        total = above_base(name)
        print(table(name))
        assert total <= MAX_ABOVE_BASE
        assert abs(total - sum(contents(name).values())) < 500_000


def test_lambda_answers_offline_from_a_read_only_file_system(image: Image, classifier: Classifier) -> None:
    expected = golden(classifier)
    emulator = f"{require_emulator()}:{EMULATOR_PLACE}:ro"
    with container(image("lambda"), *RUN_READ_ONLY, "--network", "none", "--volume", emulator) as identity:
        answer = invoke(identity, expected["event"])
        assert answer["statusCode"] == 200
        body = json.loads(answer["body"])
        assert body["model"]["sha256"] == expected["expected"]["sha256"]
        assert body["predictions"][0]["probabilities"] == pytest.approx(expected["expected"]["probabilities"], abs=0.02)
        for name in ("rest_api", "http_api", "function_url", "load_balancer"):
            assert invoke(identity, load(name))["statusCode"] == 200
        assert invoke(identity, load("warm_up"))["warm"] is True
        assert invoke(identity, load("unknown"))["errorType"] == "UnknownEvent"
        assert docker("exec", identity, "id", "-u") != "0"
        assert run("docker", "exec", identity, "touch", "/var/task/x").returncode != 0


@pytest.mark.parametrize("door", EVENTS)
def test_lambda_passes_the_smoke_test_behind_each_front_door(image: Image, door: str) -> None:
    emulator = f"{require_emulator()}:{EMULATOR_PLACE}:ro"
    port = free_port()
    options = ("--publish", f"127.0.0.1:{port}:8080", "--volume", emulator)
    one_at_a_time = threading.Lock()  # like an instance

    def ask(event: dict[str, Any]) -> dict[str, Any]:
        url = f"http://127.0.0.1:{port}/2015-03-31/functions/function/invocations"
        with one_at_a_time, urllib.request.urlopen(url, json.dumps(event).encode(), timeout=60) as answer:
            return dict(json.load(answer))

    with container(image("lambda"), *RUN_READ_ONLY, *options), front_door(door, ask) as url:
        wait_until_up(f"http://127.0.0.1:{port}")
        results = smoke(url, lambda _request: None)
    assert all(right for _, right, _ in results), results


@pytest.mark.parametrize("target", ["lambda", "server"])
def test_every_module_that_a_cold_start_loads_is_compiled(image: Image, target: str) -> None:
    # Python prints the origin of each module's code, in all processes.
    options = [*RUN_READ_ONLY, "--network", "none", "--env", "PYTHONVERBOSE=1"]
    if target == "lambda":
        options += ["--volume", f"{require_emulator()}:{EMULATOR_PLACE}:ro"]
    with container(image(target), *options) as identity:
        if target == "lambda":
            assert invoke(identity, load("function_url"))["statusCode"] == 200
        else:
            ask = ("python", "-c", ASK_SERVER.format(body=jpeg_image()))
            assert run("docker", "exec", "--env", "PYTHONVERBOSE=", identity, *ask).stdout == "200"
        log = container_log(identity)
    code = re.findall(r"code object from '?([^\s']+)'?", log)
    assert len(code) > 300
    assert [path for path in code if not path.endswith(".pyc")] == []


def test_lambda_image_may_be_snapshotted(image: Image) -> None:
    labels = json.loads(docker("image", "inspect", "--format", "{{json .Config.Labels}}", image("lambda")))
    assert labels["com.amazonaws.lambda.feature.snapstart"] == "Allow"
    # Lambda's runtime client needs it to run hooks before a snapshot and after a restore.
    hooks = "import awslambdaric.lambda_runtime_hooks_runner"
    docker("run", "--rm", "--network", "none", "--entrypoint", "python", image("lambda"), "-c", hooks)


def test_lambda_image_without_emulator_says_what_to_do(image: Image) -> None:
    done = run("docker", "run", "--rm", image("lambda"))
    assert done.returncode == 1
    assert "aws-lambda-rie" in done.stderr


def test_server_passes_the_smoke_test(image: Image) -> None:
    port = free_port()
    with container(image("server"), *RUN_READ_ONLY, "--publish", f"127.0.0.1:{port}:7860"):
        wait_until_up(f"http://127.0.0.1:{port}/readyz")
        results = smoke(f"http://127.0.0.1:{port}", lambda _request: None)
    assert all(right for _, right, _ in results), results


def test_server_passes_the_tests_of_the_source_tree(image: Image) -> None:
    port = free_port()
    with container(image("server"), *RUN_READ_ONLY, "--publish", f"127.0.0.1:{port}:7860"):
        url = f"http://127.0.0.1:{port}"
        wait_until_up(f"{url}/readyz")
        tests = [f"tests/handler/http/test_{name}.py" for name in ("predictions", "problems")]
        # The test that injects a fault into the process cannot do this in a container.
        done = run(
            sys.executable, "-m", "pytest", "-q", "-k", "not unexpected", *tests, env=os.environ | {"SERVICE_URL": url}
        )
    assert done.returncode == 0, done.stdout[-3000:]


def test_a_bundle_with_a_changed_byte_is_not_built(image: Image, tmp_path: Path) -> None:
    image("lambda")
    context = tmp_path / "context"
    for name in ("handler", "infra"):
        shutil.copytree(ROOT / name, context / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("Dockerfile", ".dockerignore", "requirements-image.lock"):
        shutil.copy(ROOT / name, context / name)
    weights = context / "handler" / "model" / MODEL_FILE
    weights.write_bytes(weights.read_bytes()[:-1] + b"\0")
    done = run("docker", "build", "--quiet", "--force-rm", "--target", "lambda", context)
    assert done.returncode != 0
    assert "BundleTampered" in done.stdout + done.stderr


def test_the_container_serves_a_bundle_from_the_hub(
    image: Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = tmp_path / "bundle"
    shutil.copytree(EMBEDDED_BUNDLE, bundle)
    contract, _ = load_bundle(bundle)
    newer = contract.to_json().replace(f'"version": "{contract.version}"', '"version": "9.9.9"')
    assert Contract.from_json(newer).version == "9.9.9"
    (bundle / CONTRACT_FILE).write_text(newer, encoding="utf-8")
    with HubServer() as hub:
        hub.serve_client(monkeypatch)
        commit = publish(bundle, "radiology/chest")
        port = free_port()
        variables = {"HF_ENDPOINT": hub.url, "MODEL_REPO": "radiology/chest", "MODEL_REVISION": commit}
        options = [option for name, value in variables.items() for option in ("--env", f"{name}={value}")]
        command = ("python", "-m", "handler", "serve", "--host", "127.0.0.1", "--port", port)
        name = image("server")
        identity = docker("run", "--detach", "--network", "host", *RUN_READ_ONLY, *options, name, *command)
        try:
            wait_until_up(f"http://127.0.0.1:{port}/readyz")
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/model", timeout=10) as answer:
                assert json.load(answer)["version"] == "9.9.9"
        finally:
            print(run("docker", "logs", identity).stderr[-3000:])
            run("docker", "rm", "--force", identity)
        hub.fault("GET /storage/", "tamper", times=99)
        done = run("docker", "run", "--rm", "--network", "host", *RUN_READ_ONLY, *options, name, *command)
    assert done.returncode == 2
    assert "differ from the published files" in done.stderr


COSTLY = {"tiles": tall_tiles(), "scans": jpeg(5600, 5600, 4, frame=0xCA, scans=400)}


def test_server_survives_costly_files(image: Image) -> None:
    port = free_port()
    with container(image("server"), *RUN_READ_ONLY, "--publish", f"127.0.0.1:{port}:7860") as identity:
        url = f"http://127.0.0.1:{port}"
        wait_until_up(f"{url}/readyz")
        with httpx2.Client(base_url=url, timeout=60) as client, ThreadPoolExecutor(4) as pool:
            ask = partial(client.post, "/v1/predictions?force=true")
            answers = list(pool.map(lambda data: ask(content=data), [*COSTLY.values()] * 2))
            assert [answer.status_code for answer in answers] == [413] * 4
            assert ask(content=encode(phantom(1800, 1500))).status_code == 200
        state = json.loads(docker("inspect", identity))[0]["State"]
        assert (state["Running"], state["OOMKilled"]) == (True, False)


def test_lambda_survives_costly_files(image: Image) -> None:
    emulator = f"{require_emulator()}:{EMULATOR_PLACE}:ro"
    with container(image("lambda"), *RUN_READ_ONLY, "--network", "none", "--volume", emulator) as identity:
        for data in (*COSTLY.values(), encode(phantom())):
            body = base64.b64encode(data).decode()
            event = load("function_url", body=body, isBase64Encoded=True, rawQueryString="force=true")
            event["headers"] |= {"content-type": "application/octet-stream"}
            answer = invoke(identity, event)
            assert answer["statusCode"] == (413 if data in COSTLY.values() else 200), answer

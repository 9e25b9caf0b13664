"""AWS on this machine, for bulk runs: S3, SQS and Step Functions of moto over HTTP, and Lambda's emulator.

In moto's interpreter of state machines, a Distributed Map cannot read more than 1,000 keys or make batches of items,
and a state cannot put an object whose body is JSON. This module adds all three. The interpreter also ignores the
tolerated share of failures.
"""

import contextlib
import json
import os
import subprocess
import sys
import threading
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from botocore.config import Config
from moto.server import ThreadedMotoServer
from moto.stepfunctions.parser.asl.component.common.retry import retrier_decl
from moto.stepfunctions.parser.asl.component.state.exec.state_map.item_reader.eval.resource_eval_s3 import (
    ResourceEvalS3,
)
from moto.stepfunctions.parser.asl.component.state.exec.state_map.iteration import distributed_iteration_component
from moto.stepfunctions.parser.asl.component.state.exec.state_task import lambda_eval_utils
from moto.stepfunctions.parser.asl.component.state.exec.state_task.service.state_task_service_aws_sdk import (
    StateTaskServiceAwsSdk,
)

from infra.engine import ROOT
from tests.infra.engine import free_port, require_emulator, wait_until_up
from tests.infra.http_server import answering

INVOCATIONS = "/2015-03-31/functions/function/invocations"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}


@contextlib.contextmanager
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """S3, SQS and Step Functions; yields their address, which boto3 in this process then uses."""
    port = free_port()
    for name, value in {**CREDENTIALS, "MOTO_PORT": str(port)}.items():
        monkeypatch.setenv(name, value)
    server = ThreadedMotoServer("127.0.0.1", port)
    server.start()
    url = f"http://127.0.0.1:{port}"
    monkeypatch.setenv("AWS_ENDPOINT_URL", url)
    settings = json.dumps({"stepfunctions": {"execute_state_machine": True}}).encode()
    urllib.request.urlopen(f"{url}/moto-api/config", settings, timeout=10).close()
    try:
        yield url
    finally:
        urllib.request.urlopen(urllib.request.Request(f"{url}/moto-api/reset", method="POST"), timeout=10).close()
        server.stop()


@contextlib.contextmanager
def emulated_function(log: Path, **variables: str) -> Iterator[str]:
    """Run the function in Lambda's emulator; yields the address of the emulator."""
    port = free_port()
    emulator = (require_emulator(), "--runtime-interface-emulator-address", f"127.0.0.1:{port}")
    runtime = ("--runtime-api-address", f"127.0.0.1:{free_port()}", sys.executable, "-m", "awslambdaric")
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*emulator, *runtime, "handler.lambda_entry.lambda_handler"],
            env=os.environ | variables,
            cwd=ROOT,
            stdout=output,
            stderr=output,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until_up(url)
        yield url
    finally:
        process.terminate()
        process.wait(timeout=10)


def invoke(function: str, event: object) -> Any:
    """Send one event to an emulated function and wait for the answer."""
    return json.load(urllib.request.urlopen(function + INVOCATIONS, json.dumps(event).encode(), timeout=300))


Fault = Callable[[dict[str, Any], int], str | None]
"""Returns the fault for an event and the number of the attempt, from 1: "throttled", "crashed" before the work, "lost"
after it, or ""."""


@contextlib.contextmanager
def faulty(function: str, fault: Fault) -> Iterator[str]:
    """Serve Lambda's API for an emulated function, with injected failures; yields its address."""
    attempts: dict[bytes, int] = {}
    lock = threading.Lock()  # the emulator handles one event at a time, like an instance

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            with lock:
                attempts[body] = attempts.get(body, 0) + 1
                wrong = fault(json.loads(body), attempts[body])
                if wrong == "throttled":
                    return self._answer(429, {"Type": "User", "message": "Rate Exceeded"}, "TooManyRequestsException")
                answer = {} if wrong == "crashed" else invoke(function, json.loads(body))
            if wrong or "errorType" in answer:
                failed = answer if "errorType" in answer else {"errorType": "Runtime.ExitError", "errorMessage": wrong}
                return self._answer(200, failed, function_error="Unhandled")
            return self._answer(200, answer)

        def _answer(self, status: int, content: Any, error: str = "", function_error: str = "") -> None:
            data = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.send_header("x-amzn-RequestId", str(uuid.uuid4()))
            if error:
                self.send_header("x-amzn-ErrorType", error)
            if function_error:
                self.send_header("X-Amz-Function-Error", function_error)
            self.end_headers()
            self.wfile.write(data)

    with answering(Handler) as url:
        yield url


def run_state_machine(
    definition: str, wanted: dict[str, Any], function: str, monkeypatch: pytest.MonkeyPatch
) -> dict[str, Any]:
    """Run a state machine to its end.

    Args:
        definition: with everything substituted; function ARNs are `function`.
        wanted: its input.
        function: address of Lambda's API.

    Returns:
        Step Functions' description of the execution.
    """
    machine = json.loads(definition)
    batchers = {
        name: (state.pop("ItemSelector"), state.pop("ItemBatcher"))
        for name, state in machine["States"].items()
        if state["Type"] == "Map"
    }
    _teach_listing(monkeypatch)
    _teach_bodies(monkeypatch)
    _teach_batches(monkeypatch, batchers, wanted)
    monkeypatch.setattr(retrier_decl, "time", SimpleNamespace(sleep=lambda _seconds: None))
    # Tried once, as Step Functions calls: trying again is the state machine's part.
    client_of = partial(boto3.client, "lambda", endpoint_url=function, config=Config(retries={"total_max_attempts": 1}))
    monkeypatch.setattr(lambda_eval_utils, "boto_client_for", lambda **_: client_of())
    client = boto3.client("stepfunctions")
    arn = client.create_state_machine(
        name="bulk", definition=json.dumps(machine), roleArn="arn:aws:iam::123456789012:role/bulk"
    )["stateMachineArn"]
    execution = client.start_execution(stateMachineArn=arn, input=json.dumps(wanted))["executionArn"]
    while (found := client.describe_execution(executionArn=execution))["status"] == "RUNNING":
        threading.Event().wait(0.2)
    return dict(found)


def _teach_listing(monkeypatch: pytest.MonkeyPatch) -> None:
    def every_page(env: Any, resource_runtime_part: Any, state_credentials: Any) -> None:
        client = ResourceEvalS3._get_s3_client(resource_runtime_part, state_credentials)
        pages = client.get_paginator("list_objects_v2").paginate(**env.stack.pop())
        env.stack.append([found for page in pages for found in page.get("Contents", [])])

    monkeypatch.setattr(ResourceEvalS3, "_handle_list_objects_v2", staticmethod(every_page))


def _teach_bodies(monkeypatch: pytest.MonkeyPatch) -> None:
    call = StateTaskServiceAwsSdk._eval_service_task

    def with_json(self: Any, *args: Any, normalised_parameters: dict[str, Any], **options: Any) -> None:
        if isinstance(body := normalised_parameters.get("Body"), dict):
            normalised_parameters = normalised_parameters | {"Body": json.dumps(body)}
        call(self, *args, normalised_parameters=normalised_parameters, **options)

    monkeypatch.setattr(StateTaskServiceAwsSdk, "_eval_service_task", with_json)


def _teach_batches(monkeypatch: pytest.MonkeyPatch, batchers: dict[str, Any], wanted: dict[str, Any]) -> None:
    component = distributed_iteration_component.DistributedIterationComponent
    run_map = component._map_run

    def resolved(template: dict[str, Any]) -> dict[str, Any]:
        """`"name.$": "$.field"` becomes that field of the input, all else stays."""
        return {
            name.removesuffix(".$"): wanted[value.removeprefix("$.")] if name.endswith(".$") else value
            for name, value in template.items()
        }

    def in_batches(self: Any, env: Any, eval_input: Any) -> None:
        selector, batcher = batchers[eval_input.state_name]
        assert selector == {"Key.$": "$$.Map.Item.Value.Key"}
        items = [{"Key": item["Key"]} for item in env.stack.pop()]
        size = wanted[batcher["MaxItemsPerBatchPath"].removeprefix("$.")]
        shared = resolved(batcher["BatchInput"])
        env.stack.append(
            [{"Items": items[start : start + size], "BatchInput": shared} for start in range(0, len(items), size)]
        )
        run_map(self, env, eval_input)

    monkeypatch.setattr(component, "_map_run", in_batches)

"""Stored events through the real entry point."""

import json
import subprocess
import sys
import traceback
from typing import Any

import pytest

from handler import lambda_entry, startup
from handler.errors import UnknownEvent
from handler.settings import Settings
from tests.handler.events import Context, load
from tests.handler.pictures import jpeg

HTTP = ["rest_api", "http_api", "function_url", "load_balancer"]


def invoke(event: Any) -> dict[str, Any]:
    return lambda_entry.lambda_handler(event, Context())


def body(answer: dict[str, Any]) -> Any:
    assert not answer["isBase64Encoded"]
    return json.loads(answer["body"])


@pytest.mark.parametrize("name", HTTP)
def test_every_http_event_is_scored(name: str) -> None:
    answer = invoke(load(name))

    assert answer["statusCode"] == 200, answer
    assert body(answer)["request_id"] == Context().aws_request_id
    assert len(body(answer)["predictions"]) == 1


def at(name: str, path: str, method: str = "GET") -> dict[str, Any]:
    """The stored event with another path, as the service behind it sees it."""
    event = load(name, body=None, isBase64Encoded=False)
    if "http" in event["requestContext"]:
        prefix = "/live" if name == "http_api" else ""
        event["requestContext"]["http"] |= {"path": prefix + path, "method": method}
    else:
        event |= {"path": path, "httpMethod": method}
        event["requestContext"]["path"] = f"/Prod{path}"
    return event


@pytest.mark.parametrize("name", HTTP)
def test_a_problem_stays_text(name: str) -> None:
    answer = invoke(at(name, "/v1/nothing"))

    assert answer["statusCode"] == 404
    assert body(answer)["title"] == "Not Found"


@pytest.mark.parametrize("name", HTTP)
@pytest.mark.parametrize("path", ["/", "/page/style.css", "/page/script.js"])
def test_the_page_is_served(name: str, path: str) -> None:
    answer = invoke(at(name, path))

    assert (answer["statusCode"], answer["isBase64Encoded"]) == (200, False)
    assert len(answer["body"]) > 100


@pytest.mark.parametrize(("name", "server"), [("rest_api", "/Prod"), ("http_api", "/live"), ("function_url", None)])
def test_the_openapi_document_knows_the_stage(name: str, server: str | None) -> None:
    document = body(invoke(at(name, "/openapi.json")))

    assert document.get("servers") == ([{"url": server}] if server else None)


def test_a_base_path_is_taken_off_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(startup, "settings", Settings(base_path="/v1"))

    assert invoke(at("rest_api", "/v1/v1/model"))["statusCode"] == 200
    assert invoke(at("rest_api", "/v1x/healthz"))["statusCode"] == 404


@pytest.mark.parametrize("name", ["warm_up", "schedule"])
def test_a_ping_keeps_the_function_warm(name: str) -> None:
    assert invoke(load(name))["warm"] is True


@pytest.mark.parametrize(
    "event", [load("unknown"), {}, [], None, "x", {"Records": []}, {"Records": [{"eventSource": "aws:s3"}]}]
)
def test_an_unknown_event_gets_a_clear_error(event: Any) -> None:
    with pytest.raises(UnknownEvent, match="expected an HTTP request, a batch") as raised:
        invoke(event)

    assert "PATIENT" not in str(raised.value)


@pytest.mark.parametrize("name", ["map_batch", "queue"])
def test_a_bug_in_a_batch_keeps_its_secrets(
    name: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    # GIVEN a bug whose message quotes the patient
    def explode(*_args: object, **_named: object) -> None:
        raise ZeroDivisionError("PATIENT-4711")

    monkeypatch.setattr("handler.batch.Batches._line", explode)
    monkeypatch.setattr("handler.batch.Storage.read", lambda *_args: jpeg())

    # THEN Lambda, which writes what is raised to the log, learns its kind, and the log the place
    with pytest.raises(RuntimeError, match="ZeroDivisionError") as raised:
        invoke(load(name))
    log = " ".join(str(vars(record)) for record in caplog.records)
    assert "explode" in log
    assert "PATIENT-4711" not in "".join(traceback.format_exception(raised.value)) + log


def test_a_request_that_is_none_is_answered_and_not_quoted(caplog: pytest.LogCaptureFixture) -> None:
    headers = {"X-Forwarded-Port": ["DOE^JANE"], "Host": ["a.example"]}

    answer = invoke(load("rest_api", multiValueHeaders=headers, headers={k: v[0] for k, v in headers.items()}))

    assert answer["statusCode"] == 400
    assert body(answer)["title"] == "The request is malformed"
    assert "DOE" not in " ".join(str(vars(record)) for record in caplog.records) + answer["body"]


def test_no_library_may_say_in_the_log_what_it_sees() -> None:
    code = (
        "import logging; logging.basicConfig(level='DEBUG')  # as Lambda's runtime does for LogLevel=DEBUG\n"
        "import handler.lambda_entry\n"
        "print(*[name for name in ('PIL.TiffImagePlugin', 'botocore.auth', 'mangum.http', 'pydicom')\n"
        "        if logging.getLogger(name).isEnabledFor(logging.INFO)])"
    )

    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "\n"


def test_a_body_that_is_no_base64_is_no_crash() -> None:
    answer = invoke(load("function_url", body="%%%%"))

    assert 400 <= answer["statusCode"] < 500


def test_each_kind_of_event_is_stored(request: pytest.FixtureRequest) -> None:
    stored = {path.stem for path in (request.path.parent / "events").glob("*.json")}

    assert stored == {*HTTP, "warm_up", "schedule", "queue", "map_batch", "unknown"}

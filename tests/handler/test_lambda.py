"""Stored events through the real entry point."""

import json
import subprocess
import sys
import traceback
from typing import Any

import pytest

from handler import lambda_entry
from handler.errors import UnknownEvent
from handler.http.endpoints import create_service
from handler.scoring import Predictor
from handler.settings import Settings
from tests.handler.events import Context, load
from tests.handler.images import jpeg

HTTP = [
    *("rest_api", "rest_api_custom_domain", "http_api", "http_api_v1", "http_api_v1_sam_local", "function_url"),
    "load_balancer",
]


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
    """The stored event with another path and without a query, as the service behind it sees it."""
    event = load(name, body=None, isBase64Encoded=False)
    for field in event:
        if "querystring" in field.lower():
            event[field] = "" if field == "rawQueryString" else None
    context = event["requestContext"]
    if "http" in context:
        prefix = "/live" if name == "http_api" else ""
        context["http"] |= {"path": prefix + path, "method": method}
        return event
    event["httpMethod"] = method
    event["path"] = event["path"].removesuffix("/v1/predictions") + path
    if "resource" in event:
        event["pathParameters"] = {"proxy": path[1:]} if path != "/" else None
        event["resource"] = "/{proxy+}" if path != "/" else "/"
        called = context["path"] != "/{proxy+}"  # SAM's local server has the resource there
        context["path"] = context["path"].removesuffix("/v1/predictions") + path if called else event["resource"]
    return event


@pytest.mark.parametrize("name", HTTP)
def test_a_problem_stays_text(name: str) -> None:
    answer = invoke(at(name, "/v1/nothing"))

    assert answer["statusCode"] == 404
    assert body(answer)["title"] == "Not Found"


@pytest.mark.parametrize("name", HTTP)
@pytest.mark.parametrize("path", ["/", "/page/style.css", "/page/script.js", "/docs", "/docs/swagger-ui-bundle.js"])
def test_the_page_is_served(name: str, path: str) -> None:
    answer = invoke(at(name, path))

    assert (answer["statusCode"], answer["isBase64Encoded"]) == (200, False)
    assert len(answer["body"]) > 100


@pytest.mark.parametrize(
    ("name", "server"),
    [
        ("rest_api", "/Prod"),
        ("rest_api_custom_domain", "/xray"),
        ("http_api", "/live"),
        ("http_api_v1", "/dev"),
        ("http_api_v1_sam_local", "/"),
        ("function_url", "/"),
    ],
)
def test_the_openapi_document_knows_the_prefix(name: str, server: str) -> None:
    assert servers(name, "/openapi.json") == [server]


def servers(name: str, path: str) -> list[str]:
    return [server["url"] for server in body(invoke(at(name, path)))["servers"]]


@pytest.mark.parametrize("stage", ["dev", "v1"])
@pytest.mark.parametrize("domain", [None, "/xray", "/v1", "/xray/v1"])
@pytest.mark.parametrize("name", ["rest_api", "http_api_v1", "http_api_v1_sam_local"])
def test_a_stage_or_base_path_may_be_called_as_a_path_of_the_service(name: str, stage: str, domain: str | None) -> None:
    event = at(name, "/v1/model")
    context = event["requestContext"]
    context["stage"] = stage
    if name != "http_api_v1_sam_local":
        context["path"] = f"{domain or f'/{stage}'}/v1/model"
        event["path"] = context["path"] if domain or name == "http_api_v1" else "/v1/model"

    assert invoke(event)["statusCode"] == 200


@pytest.mark.parametrize(("path", "status"), [("/dev/v1/model", 200), ("/v1/model", 200), ("/dev/v1/nothing", 404)])
def test_a_default_route_has_its_stage_in_the_path_or_not(path: str, status: int) -> None:
    event = at("http_api_v1", "/v1/model") | {"resource": "$default", "pathParameters": None, "path": path}
    event["requestContext"] |= {"path": path, "resourcePath": "$default"}

    assert invoke(event)["statusCode"] == status


@pytest.mark.parametrize("name", HTTP)
@pytest.mark.parametrize("base_path", ["/v1", "/scan", "/a/b"])
def test_a_base_path_is_what_callers_see(
    name: str, base_path: str, monkeypatch: pytest.MonkeyPatch, predictor: Predictor
) -> None:
    monkeypatch.setattr(lambda_entry, "_service", create_service(Settings(base_path=base_path), predictor))

    assert invoke(at(name, f"{base_path}/v1/model"))["statusCode"] == 200
    assert invoke(at(name, f"{base_path}x/healthz"))["statusCode"] == 404
    assert servers(name, f"{base_path}/openapi.json") == [base_path]
    if base_path != "/v1":
        assert invoke(at(name, "/v1/model"))["statusCode"] == 200


@pytest.mark.parametrize(("name", "base_path"), [("rest_api", "/Prod"), ("rest_api_custom_domain", "/xray")])
def test_a_base_path_may_be_what_the_event_tells(
    name: str, base_path: str, monkeypatch: pytest.MonkeyPatch, predictor: Predictor
) -> None:
    monkeypatch.setattr(lambda_entry, "_service", create_service(Settings(base_path=base_path), predictor))

    assert invoke(load(name))["statusCode"] == 200


@pytest.mark.parametrize("name", ["warm_up", "schedule"])
def test_a_ping_keeps_the_function_warm(name: str) -> None:
    assert invoke(load(name))["warm"] is True


@pytest.mark.parametrize(
    "event", [load("unknown"), {}, [], None, "x", {"Records": []}, {"Records": [{"eventSource": "aws:kinesis"}]}]
)
def test_an_unknown_event_gets_a_clear_error(event: Any) -> None:
    with pytest.raises(UnknownEvent, match="expected an HTTP request, a batch") as raised:
        invoke(event)

    assert "PATIENT" not in str(raised.value)


@pytest.mark.parametrize("name", ["map_batch", "queue"])
def test_a_bug_in_a_batch_keeps_its_secrets(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # GIVEN a bug whose message quotes the patient
    def explode(*_args: object, **_named: object) -> None:
        raise ZeroDivisionError("PATIENT-4711")

    monkeypatch.setattr("handler.batch.Batches._line", explode)
    monkeypatch.setattr("handler.batch.Storage.read", lambda *_args: jpeg())

    # THEN the exception, which Lambda writes to the log, has only its type, and the log has the place
    with pytest.raises(RuntimeError, match="ZeroDivisionError") as raised:
        invoke(load(name))
    log = capsys.readouterr().out
    assert "explode" in log
    assert "PATIENT-4711" not in "".join(traceback.format_exception(raised.value)) + log


def test_a_request_that_is_none_is_answered_and_not_quoted(capsys: pytest.CaptureFixture[str]) -> None:
    headers = {"X-Forwarded-Port": ["DOE^JANE"], "Host": ["a.example"]}

    answer = invoke(load("rest_api", multiValueHeaders=headers, headers={k: v[0] for k, v in headers.items()}))

    assert answer["statusCode"] == 400
    assert body(answer)["title"] == "The request is malformed"
    assert "DOE" not in capsys.readouterr().out + answer["body"]


@pytest.mark.parametrize(
    "changes",
    [
        {"pathParameters": {"proxy": None}},
        {"pathParameters": "DOE^JANE"},
        {"requestContext": {"path": 5, "identity": {}}},
    ],
)
def test_an_event_with_a_malformed_path_is_a_malformed_request(
    changes: dict[str, Any], capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    answer = invoke(load("http_api_v1", **changes))

    assert answer["statusCode"] == 400
    assert body(answer)["title"] == "The request is malformed"
    assert "DOE" not in capsys.readouterr().out
    assert caplog.records == []


def test_no_library_may_say_in_the_log_what_it_sees() -> None:
    code = (
        "import logging; logging.basicConfig(level='DEBUG')  # as Lambda's runtime does for LogLevel=DEBUG\n"
        "import handler.lambda_entry\n"
        "print(*[name for name in ('PIL.TiffImagePlugin', 'botocore.auth', 'mangum.http', 'pydicom')\n"
        "        if logging.getLogger(name).isEnabledFor(logging.INFO)])"
    )

    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "\n"


@pytest.mark.parametrize("name", HTTP)
@pytest.mark.parametrize("text", ["%%%%", "abc", "/9j/4AAQ SkZJRg==", "\xff\xd8"])
def test_a_body_that_is_not_base64_is_malformed(name: str, text: str) -> None:
    right = invoke(at(name, "/v1/model"))
    answer = invoke(load(name, body=text, isBase64Encoded=True))

    assert answer["statusCode"] == 400
    problem = body(answer)
    assert problem["type"].endswith(":malformed-request")
    assert "is not base64" in problem["detail"]
    assert text not in problem["detail"]
    assert set(right["headers"]) - {"etag", "last-modified", "accept-ranges"} <= set(answer["headers"])


def test_each_kind_of_event_is_stored(request: pytest.FixtureRequest) -> None:
    stored = {path.stem for path in (request.path.parent / "events").glob("*.json")}
    bulk = {"queue", "queue_of_wrapped", "map_batch", "s3", "sns", "event_bridge"}

    assert stored == {*HTTP, *bulk, "warm_up", "schedule", "unknown"}

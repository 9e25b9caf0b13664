"""The other endpoints: health, model card, OpenAPI document, page, headers."""

import json

import pytest
from fastapi import FastAPI
from pydantic import TypeAdapter
from starlette.testclient import TestClient

from handler.classifier import Classifier
from handler.http.description import STATIC
from handler.http.endpoints import create_service
from handler.http.schemas import Health, ModelCard
from handler.scoring import Predictor
from handler.settings import Settings
from tests.handler.answers import assert_refused
from tests.handler.images import jpeg


@pytest.mark.parametrize(("path", "status"), [("/healthz", "ok"), ("/readyz", "ready")])
def test_health(client: TestClient, path: str, status: str) -> None:
    response = client.get(path)

    assert TypeAdapter(Health).validate_json(response.content).status == status


def test_a_network_gone_wrong_is_not_ready(
    make_client, monkeypatch: pytest.MonkeyPatch, classifier: Classifier
) -> None:
    scores = classifier.score
    client = make_client()
    monkeypatch.setattr(classifier, "score", lambda pixels: scores(pixels[:0]))

    assert client.get("/readyz").status_code == 500
    assert client.get("/healthz").status_code == 200


def test_the_card_is_the_contract_and_what_it_is_for(client: TestClient, classifier: Classifier) -> None:
    card = TypeAdapter(ModelCard).validate_json(client.get("/v1/model").content, strict=True)

    contract = classifier.contract
    assert (card.name, card.version, card.sha256) == (contract.name, contract.version, contract.sha256)
    assert card.labels == list(contract.labels)
    assert card.metrics == contract.metrics
    assert "not a medical device" in card.disclaimer


def test_the_openapi_document_of_all_bundles_is_fresh(app: FastAPI) -> None:
    assert json.loads(STATIC.read_bytes()) == app.openapi(), "run `make openapi`"


def test_the_openapi_document_has_an_example_for_every_way_in_and_every_problem(client: TestClient) -> None:
    paths = client.get("/openapi.json").json()["paths"]

    predictions = paths["/v1/predictions"]["post"]
    assert len(predictions["requestBody"]["content"]["application/json"]["examples"]) == 3
    for path in paths.values():
        for operation in path.values():
            for status, response in operation["responses"].items():
                if int(status) >= 400:
                    [content] = response["content"].items()
                    assert content[0] == "application/problem+json"
                    assert content[1]["examples"], (operation["summary"], status)


def test_the_examples_of_the_document_are_true(client: TestClient) -> None:
    predictions = client.get("/openapi.json").json()["paths"]["/v1/predictions"]["post"]
    examples = predictions["requestBody"]["content"]["application/json"]["examples"]

    assert client.post("/v1/predictions?force=true", json=examples["base64"]["value"]).status_code == 200
    several = client.post("/v1/predictions?force=true", json=examples["several"]["value"]).json()["predictions"]
    assert [prediction.get("error", {}).get("status") for prediction in several] == [None, 403]


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "text/html"),
        ("/page/style.css", "text/css"),
        ("/page/script.js", "text/javascript"),
        ("/docs", "text/html"),
        ("/docs/start.js", "text/javascript"),
        ("/docs/swagger-ui-bundle.js", "text/javascript"),
    ],
)
def test_the_pages_are_served_and_may_be_kept_but_checked(client: TestClient, path: str, kind: str) -> None:
    response = client.get(path)

    assert response.headers["content-type"].startswith(kind)
    assert response.headers["cache-control"] == "no-cache"
    assert client.head(path).status_code == 200
    again = client.get(path, headers={"if-none-match": response.headers["etag"]})
    kept = path not in ("/", "/docs")
    assert (again.status_code, again.content) == ((304, b"") if kept else (200, response.content))


@pytest.mark.parametrize(
    ("method", "path", "known"),
    [
        ("POST", "/v1/predictions?explain=true&forced=true", "takes only `explain`, `force`"),
        ("POST", "/v1/predictions?Explain=true", "takes only `explain`, `force`"),
        ("POST", "/v1/predictions?", ""),
        ("POST", "/v1/uploads?content_type=image/png", "takes none"),
        ("GET", "/v1/model?x", "takes none"),
        ("GET", "/healthz?x=1", "takes none"),
        ("GET", "/readyz?x=1", "takes none"),
        ("GET", "/openapi.json?x=1", "takes none"),
    ],
)
def test_an_unknown_query_parameter_is_refused(client: TestClient, method: str, path: str, known: str) -> None:
    response = client.request(method, path)

    if known:
        assert_refused(response, 400, "malformed-request")
        assert known in response.json()["detail"]
    else:
        assert "query" not in response.json()["detail"]


def test_an_unknown_query_parameter_is_named_and_cut(client: TestClient) -> None:
    detail = client.get(f"/healthz?{'x' * 99}=1").json()["detail"]

    assert f"The query parameter '{'x' * 40}' is unknown." in detail


def test_a_head_request_is_refused_like_its_get(client: TestClient) -> None:
    assert client.head("/healthz?x=1").status_code == 400


@pytest.mark.parametrize("path", ["/?utm_source=x", "/docs?x", "/page/style.css?v=2", "/docs/start.js?v=2"])
def test_pages_and_their_files_take_any_query(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 200


def test_a_signature_in_the_query_is_no_unknown_parameter(client: TestClient) -> None:
    signature = "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature=00"

    assert client.get(f"/v1/model?{signature}").status_code == 200


@pytest.mark.parametrize("folder", ["page", "docs"])
@pytest.mark.parametrize("path", ["../app.py", "%2e%2e/app.py", "/etc/passwd", ""])
def test_nothing_but_the_pages_is_served(client: TestClient, folder: str, path: str) -> None:
    assert client.get(f"/{folder}/{path}").status_code == 404


@pytest.mark.parametrize("path", ["/v1/predictions/", "/healthz/"])
def test_a_slash_too_many_sends_no_image_elsewhere(client: TestClient, path: str) -> None:
    assert client.post(path, content=jpeg(), follow_redirects=False).status_code == 404


def test_every_answer_forbids_what_the_page_does_not_need(client: TestClient) -> None:
    for response in (
        client.get("/"),
        client.get("/docs"),
        client.get("/nothing"),
        client.post("/v1/predictions", content=b"x"),
    ):
        policy = response.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert response.headers["x-content-type-options"] == "nosniff"
        assert response.headers["referrer-policy"] == "no-referrer"
    assert client.post("/v1/predictions", content=b"x").headers["cache-control"] == "no-store"


def test_a_frame_may_be_allowed(make_client) -> None:
    client = make_client(frame_ancestors="https://huggingface.co")

    assert client.get("/").headers["content-security-policy"].endswith("frame-ancestors https://huggingface.co")


@pytest.mark.parametrize(
    ("given", "kept"), [("abc-DEF_1.23", True), ("short", False), ("<script>alert(1)</script>", False)]
)
def test_a_harmless_request_id_is_kept(client: TestClient, given: str, kept: bool) -> None:
    response = client.get("/healthz", headers={"x-request-id": given})

    assert (response.headers["x-request-id"] == given) is kept


def test_other_origins_may_call_only_if_they_are_named(make_client) -> None:
    origin = {"origin": "https://a.example"}
    headers = "authorization,content-type,x-amz-date,x-amz-security-token"  # headers of a signed request
    preflight = {**origin, "access-control-request-method": "POST", "access-control-request-headers": headers}

    closed, opened = make_client(), make_client(cors_origins=("https://a.example",))

    assert "access-control-allow-origin" not in closed.get("/healthz", headers=origin).headers
    allowed = opened.options("/v1/predictions", headers=preflight)
    assert (allowed.status_code, allowed.headers["access-control-allow-origin"]) == (200, "https://a.example")
    refused = opened.post("/v1/predictions", content=b"x", headers=origin)
    assert refused.headers["access-control-allow-origin"] == "https://a.example"
    stranger = opened.post("/v1/predictions", content=jpeg(), headers={"origin": "https://b.example"})
    assert "access-control-allow-origin" not in stranger.headers


def test_answers_of_the_framework_look_like_all_others(make_client, capsys: pytest.CaptureFixture[str]) -> None:
    client = make_client(cors_origins=("https://a.example",))
    preflight = {"origin": "https://a.example", "access-control-request-method": "POST"}

    allowed = client.options("/v1/predictions", headers=preflight)
    refused = [
        client.options("/v1/predictions", headers=preflight | {"origin": "https://b.example"}),
        client.get("/page/style.css", headers={"range": "lines=1-2"}),
    ]

    assert allowed.status_code == 200
    for response in refused:
        assert_refused(response, 400, "bad-request")
    beyond = client.get("/page/style.css", headers={"range": "bytes=9999999-"})
    assert (beyond.status_code, beyond.headers["content-type"]) == (416, "application/problem+json")
    logged = [json.loads(line)["request_id"] for line in capsys.readouterr().out.splitlines()]
    for response in (allowed, *refused):
        assert response.headers["x-content-type-options"] == "nosniff"
        assert logged.count(response.headers["x-request-id"]) == 1


def test_other_origins_may_read_what_went_wrong(make_client, monkeypatch: pytest.MonkeyPatch) -> None:
    origin = {"origin": "https://a.example"}
    client = make_client(cors_origins=("https://a.example",))
    monkeypatch.setattr(Predictor, "score_or_error", None)

    broken = client.post("/v1/predictions", content=jpeg(), headers=origin)

    assert_refused(broken, 500, "internal-error")
    assert broken.headers["access-control-allow-origin"] == "https://a.example"


def test_a_method_of_the_callers_own_is_not_logged(client: TestClient, capsys: pytest.CaptureFixture[str]) -> None:
    client.request("DOE_JANE", "/healthz")
    client.get("/healthz")

    assert [json.loads(line)["method"] for line in capsys.readouterr().out.splitlines()] == ["other", "GET"]


def test_logs_hold_nothing_of_the_image(make_client, capsys: pytest.CaptureFixture[str]) -> None:
    from tests.handler.images import dicom

    # GIVEN a patient's image, whole and damaged, under a telling name, and the most verbose log
    client = make_client(log_level="DEBUG")
    whole, damaged = (("file", ("Doe_Jane.dcm", data)) for data in (dicom(), dicom()[:3000]))
    for query, *files in (("", whole), ("", damaged), ("", whole, damaged), ("&name=Doe", whole)):
        client.post(f"/v1/predictions?force=true{query}", files=files)

    lines = capsys.readouterr().out.splitlines()
    assert len([line for line in lines if "TotalMs" in line]) == 4
    assert len(lines) == 8
    assert not [line for line in lines if "Doe" in line or "4711" in line]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("HEAD", "/"),
        ("HEAD", "/healthz"),
        ("HEAD", "/v1/model"),
        ("GET", "/page/script.js"),
        ("GET", "/v1/model"),
        ("GET", "/healthz"),
        ("GET", "/readyz"),
        ("GET", "/openapi.json"),
        ("GET", "/docs"),
        ("HEAD", "/docs/swagger-ui.css"),
        ("GET", "/healthz?x=1"),
        ("POST", "/v1/predictions"),
        ("POST", "/v1/predictions?explain=perhaps"),
        ("GET", "/v1/predictions"),
        ("POST", "/v1/uploads"),
        ("GET", "/nowhere"),
    ],
)
def test_what_lambda_serves_is_what_a_server_serves(app: FastAPI, predictor: Predictor, method: str, path: str) -> None:
    fronts = (app, create_service(Settings(), predictor))
    there, here = (TestClient(front).request(method, path, headers={"x-request-id": "the-same-id"}) for front in fronts)

    assert here.status_code == there.status_code
    assert here.content == there.content
    assert here.headers.get("content-type") == there.headers.get("content-type")


@pytest.mark.parametrize(("value", "added"), [("1", True), ("True", True), ("off", False), ("no", False)])
def test_a_flag_may_be_written_in_many_ways(client: TestClient, value: str, added: bool) -> None:
    answer = client.post(f"/v1/predictions?force=yes&explain={value}", files={"file": jpeg()}).json()

    assert ("explanation" in answer["predictions"][0]) == added

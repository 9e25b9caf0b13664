"""All errors of callers, and the answers of the service."""

import base64
import json
import re
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from handler import errors
from handler.http.problems import KINDS, kind_of
from handler.scoring import Predictor
from tests.conftest import REPOSITORY
from tests.handler.answers import assert_refused
from tests.handler.images import animation, bomb, dicom, jpeg

PATH = "/v1/predictions"
FORM = {"content-type": "multipart/form-data; boundary=x"}
JSON = {"content-type": "application/json"}


def part(data: bytes, name: str = "file", end: bytes = b"--x--\r\n") -> bytes:
    head = f'--x\r\nContent-Disposition: form-data; name="{name}"; filename="a.jpg"\r\n\r\n'
    return head.encode() + data + b"\r\n" + end


IMAGES = {
    "nothing": (b"", 400, "empty-input"),
    "text": (b"this is no image, whatever its name says", 415, "unsupported-format"),
    "svg": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", 415, "unsupported-format"),
    "half a JPEG": (jpeg()[:600], 422, "unreadable-image"),
    "head of a JPEG": (jpeg()[:12], 422, "unreadable-image"),
    "animation": (animation(), 422, "several-frames"),
    "PNG of 3.6 gigapixels": (bomb(), 413, "input-too-large"),
    "PNG of 36 megapixels": (bomb(6000, 6000), 413, "input-too-large"),
    "DICOM without pixels": (dicom(PixelData=None), 422, "unreadable-image"),
    "DICOM without an image": (dicom(PixelData=None, Rows=None), 415, "unsupported-format"),
    "half a DICOM": (dicom()[:4000], 422, "unreadable-image"),
    "DICOM with a thousand frames": (dicom(NumberOfFrames=1000), 413, "input-too-large"),
    "DICOM of 4.3 gigapixels": (dicom(Rows=65535, Columns=65535), 413, "input-too-large"),
}


@pytest.mark.parametrize(("data", "status", "slug"), IMAGES.values(), ids=IMAGES)
def test_an_image_that_cannot_be_scored(client: TestClient, data: bytes, status: int, slug: str) -> None:
    alone = client.post(PATH, content=data)
    in_a_form = client.post(PATH, files={"file": ("x.jpg", data)})
    in_json = client.post(PATH, json={"image": base64.b64encode(data).decode()})

    assert len({assert_refused(response, status, slug)["detail"] for response in (alone, in_a_form, in_json)}) == 1


def test_the_refusal_in_the_readme_is_the_real_one(client: TestClient) -> None:
    text = (REPOSITORY / "handler" / "README.md").read_text(encoding="utf-8").partition("\n## Errors\n")[2]
    file, shown = re.findall(r"file=@(\S+) .*?```json\n(.*?)```", text, re.DOTALL)[0]

    refused = client.post(PATH, files={"file": (REPOSITORY / file).read_bytes()}).json()

    documented = json.loads(shown) | {"request_id": refused["request_id"]}
    distances = [float(re.findall(r"is (\d\.\d),", problem["detail"])[0]) for problem in (documented, refused)]
    assert distances[0] == pytest.approx(distances[1], abs=0.11)  # int8 arithmetic differs slightly between CPUs
    assert documented | {"detail": documented["detail"].replace(f"{distances[0]}", f"{distances[1]}")} == refused


REQUESTS = {
    "form without boundary": (b"x", {"content-type": "multipart/form-data"}, 400, "malformed-request"),
    "form with a huge boundary": (
        b"",
        {"content-type": f"multipart/form-data; boundary={'x' * 999}"},
        400,
        "malformed-request",
    ),
    "empty form": (b"", FORM, 400, "malformed-request"),
    "form of rubbish": (b"rubbish", FORM, 400, "malformed-request"),
    "form without a file": (b"--x--\r\n", FORM, 400, "malformed-request"),
    "form that breaks off": (part(jpeg(), end=b""), FORM, 400, "malformed-request"),
    "form with another part": (part(jpeg(), "image"), FORM, 400, "malformed-request"),
    "form with a part without a name": (b"--x\r\n\r\nhello\r\n--x--\r\n", FORM, 400, "malformed-request"),
    "JSON with an error": (b'{"image": ', JSON, 400, "malformed-request"),
    "JSON in no encoding": (b"\xff\xfe\xfd", JSON, 400, "malformed-request"),
    "JSON in UTF-16": ('{"image": ""}'.encode("utf-16"), JSON, 400, "malformed-request"),
    "JSON in UTF-32": ('{"image": ""}'.encode("utf-32-le"), JSON, 400, "malformed-request"),
    "JSON in UTF-8 with a mark": (b'\xef\xbb\xbf{"image": ""}', JSON, 400, "empty-input"),
    "JSON of no object": (b"[]", JSON, 400, "malformed-request"),
    "JSON without items": (b'{"items": []}', JSON, 400, "malformed-request"),
    "JSON with a number among the items": (b'{"items": [{"image": ""}, 5]}', JSON, 400, "malformed-request"),
    "JSON with both": (b'{"image": "", "s3_uri": "s3://a/b"}', JSON, 400, "malformed-request"),
    "JSON with an unknown key": (b'{"image": "", "name": "x"}', JSON, 400, "malformed-request"),
    "JSON with a number": (b'{"image": 5}', JSON, 400, "malformed-request"),
    "JSON with a link": (b'{"s3_uri": "https://example.com/x.png"}', JSON, 400, "malformed-request"),
    "JSON with half a letter": (b'{"s3_uri": "s3://a/\\ud800"}', JSON, 400, "malformed-request"),
    "JSON that is deep": (b"[" * 9_000, JSON, 400, "malformed-request"),
    "JSON with many parts": (b'{"items": [' + b"{}," * 20_000 + b"{}]}", JSON, 400, "malformed-request"),
    "base64 with a data: prefix": (b'{"image": "data:image/png;base64,AAAA"}', JSON, 400, "malformed-request"),
    "base64 of nothing": (b'{"image": ""}', JSON, 400, "empty-input"),
    "bucket that is not allowed": (b'{"s3_uri": "s3://other/x.png"}', JSON, 403, "bucket-not-allowed"),
    "form fields": (b"a=b", {"content-type": "application/x-www-form-urlencoded"}, 415, "unsupported-media"),
    "HEIC": (b"x", {"content-type": "image/heic"}, 415, "unsupported-media"),
}


@pytest.mark.parametrize(("body", "headers", "status", "slug"), REQUESTS.values(), ids=REQUESTS)
def test_a_request_that_cannot_be_read(
    client: TestClient, body: bytes, headers: dict[str, str], status: int, slug: str
) -> None:
    assert_refused(client.post(PATH, content=body, headers=headers), status, slug)


@pytest.mark.parametrize("document", [{}, {"url": "https://example.com/x.png"}])
def test_a_json_body_of_no_form_is_told_all_forms(client: TestClient, document: dict[str, str]) -> None:
    detail = assert_refused(client.post(PATH, json=document), 400, "malformed-request")["detail"]

    assert [form for form in ("`image`", "`s3_uri`", "`items`") if form not in detail] == []


def test_a_parameter_that_is_not_a_boolean(client: TestClient) -> None:
    problem = assert_refused(client.post(f"{PATH}?explain=perhaps", content=jpeg()), 400, "malformed-request")

    assert "explain" in problem["detail"]


def test_an_unknown_path(client: TestClient) -> None:
    assert_refused(client.get("/v1/nothing"), 404, "not-found")


@pytest.mark.parametrize(
    ("method", "path", "taken"),
    [
        ("GET", PATH, "POST."),
        ("DELETE", "/v1/model", "GET"),
        ("POST", "/", "GET"),
        ("PUT", "/page/style.css", "GET and HEAD."),
    ],
)
def test_a_method_that_is_not_there(client: TestClient, method: str, path: str, taken: str) -> None:
    problem = assert_refused(client.request(method, path), 405, "method-not-allowed")

    assert f"This path takes {taken}" in problem["detail"]


UPLOADS = "/v1/uploads"
EXAMPLES = [
    ("POST", PATH, "empty-input", {"content": b""}),
    ("POST", PATH, "malformed-request", {"params": {"explain": "perhaps"}}),
    ("POST", PATH, "bucket-not-allowed", {"json": {"s3_uri": "s3://other/x.png"}}),
    ("POST", PATH, "input-too-large", {"files": [("file", b"")] * 33}),
    ("POST", PATH, "unsupported-media", {"headers": {"content-type": "image/heic"}}),
    ("POST", PATH, "unsupported-format", {"content": dicom(PixelData=None, Rows=None)}),
    ("POST", PATH, "unreadable-image", {"content": jpeg()[: len(jpeg()) * 3 // 4]}),
    ("POST", PATH, "several-frames", {"content": animation()}),
    ("POST", UPLOADS, "malformed-request", {"json": {"type": "image/png"}}),
    ("POST", UPLOADS, "uploads-disabled", {}),
    ("POST", UPLOADS, "input-too-large", {"headers": {"content-length": "33554433"}}),
    ("POST", UPLOADS, "unsupported-media", {"json": {"content_type": "text/plain"}}),
    *(("GET", path, "malformed-request", {"params": "verbose"}) for path in ("/v1/model", "/healthz", "/readyz")),
]


@pytest.mark.parametrize(
    ("method", "path", "slug", "sent"), EXAMPLES, ids=[f"{path} {slug}" for _, path, slug, _ in EXAMPLES]
)
def test_the_document_has_the_real_texts_of_problems(
    app: FastAPI, method: str, path: str, slug: str, sent: dict[str, Any]
) -> None:
    client = TestClient(app)

    refused = client.request(method, path, **sent)

    operation = client.get("/openapi.json").json()["paths"][path][method.lower()]
    [content] = operation["responses"][str(refused.status_code)]["content"].values()
    example = content["examples"][slug]["value"]
    assert example | {"request_id": refused.headers["x-request-id"]} == refused.json()


def test_the_document_has_every_kind_of_problem_where_it_can_occur(client: TestClient) -> None:
    paths = client.get("/openapi.json").json()["paths"]

    kinds = {path: slugs(operation) for path, operations in paths.items() for operation in operations.values()}
    assert set().union(*kinds.values()) == {kind.slug for kind in KINDS.values()}
    assert kinds["/v1/model"] == kinds["/healthz"] == {"malformed-request"}
    assert kinds["/readyz"] == {"malformed-request", "overloaded"}
    assert "uploads-disabled" not in kinds[PATH]
    assert "input-not-found" not in kinds[UPLOADS]


def slugs(operation: dict[str, Any]) -> set[str]:
    """The kinds of problems that the document has for an operation."""
    refusals = [answer for status, answer in operation["responses"].items() if int(status) >= 400]
    return {slug for answer in refusals for content in answer["content"].values() for slug in content["examples"]}


def test_something_unexpected_keeps_its_secrets(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # GIVEN a bug whose message quotes the patient
    def explode(*_args: object, **_named: object) -> None:
        raise ZeroDivisionError("PATIENT-4711")

    monkeypatch.setattr(Predictor, "score_or_error", explode)

    problem = assert_refused(client.post(PATH, content=jpeg()), 500, "internal-error")

    # THEN the caller gets an id, the log has the place, and the message appears nowhere
    log = capsys.readouterr().out
    assert problem["request_id"] in problem["detail"]
    assert problem["request_id"] in log
    assert "ZeroDivisionError" in log
    assert "PATIENT-4711" not in json.dumps(problem) + log


def test_every_error_that_can_reach_a_caller_is_in_the_table() -> None:
    leaves = [cls for cls in vars(errors).values() if isinstance(cls, type) and not cls.__subclasses__()]
    callers = [cls for cls in leaves if issubclass(cls, (errors.InputError, errors.TemporaryError))]

    assert set(KINDS) == set(callers)
    assert kind_of(errors.BundleTampered()).status == 500


def test_the_tree_of_errors_is_drawn_as_it_is() -> None:
    drawn = [line for line in str(errors.__doc__).splitlines() if "─" in line or line.startswith("HandlerError")]
    classes = [cls for cls in vars(errors).values() if isinstance(cls, type)]

    names = {line.replace("│", " ").replace("├──", " ").replace("└──", " ").split()[0]: line for line in drawn}
    assert set(names) == {cls.__name__ for cls in classes}
    for cls in classes:
        depth = len(cls.__mro__) - len(errors.HandlerError.__mro__)
        assert len(names[cls.__name__]) - len(names[cls.__name__].lstrip(" │├└─")) == 4 * depth

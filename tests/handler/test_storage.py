"""S3 input, uploads and batches, with the real client and a server that implements S3 over HTTP."""

import base64
import dataclasses
import json
import math
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from handler import lambda_entry
from handler.batch import Batches
from handler.classifier import Classifier
from handler.errors import BucketNotAllowed, HandlerError, MalformedRequest, SettingsError, StorageError
from handler.imaging.decode import decode
from handler.notifications import notified
from handler.scoring import Prediction, Predictor
from handler.settings import Settings
from handler.storage import Storage, parse_uri
from tests.handler.events import Context, load
from tests.handler.images import jpeg, phantom, png

boto3 = pytest.importorskip("boto3", reason="S3 needs boto3: install the extra `aws`")
server = pytest.importorskip("moto.server", reason="the S3 server needs moto: install the extra `dev`")

SETTINGS = Settings(
    buckets=("xrays",),
    output_buckets=("answers",),
    output_uri="s3://answers/queue/",
    upload_bucket="uploads",
    max_body_bytes=100_000,
    upload_expires_s=60,
)
PATH = "/v1/predictions?force=true"
WORDS = ["Records", "Sns", "Message", "Type", "TopicArn", "s3", "bucket", "object", "name", "key", "source", "detail"]


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    s3 = server.ThreadedMotoServer(port=0)
    s3.start()
    host, port = s3.get_host_and_port()
    yield f"http://{host}:{port}"
    s3.stop()


@pytest.fixture
def s3(endpoint: str, monkeypatch: pytest.MonkeyPatch):
    for name, value in {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    client = boto3.session.Session().client("s3")
    for bucket in ("xrays", "answers", "uploads", "private"):
        client.create_bucket(Bucket=bucket)
    for key, data in {"ward 3/chest (one).jpg": jpeg(), "two.jpg": png(phantom(seed=2)), "text.jpg": b"text"}.items():
        client.put_object(Bucket="xrays", Key=key, Body=data)
    yield client
    for bucket in ("xrays", "answers", "uploads", "private"):
        for found in client.list_objects_v2(Bucket=bucket).get("Contents", []):
            client.delete_object(Bucket=bucket, Key=found["Key"])
    client.close()


@pytest.fixture
def client(s3, make_client) -> TestClient:  # noqa: ARG001
    return make_client(**{field: getattr(SETTINGS, field) for field in Settings.__slots__})


def status(response) -> tuple[int, str]:
    return response.status_code, response.json()["type"].rpartition(":")[2]


def test_an_object_is_scored_like_its_bytes(client: TestClient) -> None:
    by_address = client.post(PATH, json={"s3_uri": "s3://xrays/ward 3/chest (one).jpg"}).json()["predictions"][0]

    by_bytes = client.post(PATH, content=jpeg()).json()["predictions"][0]
    assert by_address["probabilities"] == by_bytes["probabilities"]


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("s3://xrays/missing.jpg", (404, "input-not-found")),
        ("s3://private/secret.jpg", (403, "bucket-not-allowed")),
        ("s3://answers/x.jpg", (403, "bucket-not-allowed")),
        ("s3://uploads/elsewhere/x.jpg", (403, "bucket-not-allowed")),
        ("s3://uploads/uploads/x.jpg", (404, "input-not-found")),
        ("s3://uploads/uploads/../x.jpg", (403, "bucket-not-allowed")),
        ("s3://uploads/uploads/./x.jpg", (403, "bucket-not-allowed")),
        ("s3://uploads/uploads/..", (403, "bucket-not-allowed")),
        ("s3://uploads//uploads/x.jpg", (403, "bucket-not-allowed")),
        ("s3://uploads/UPLOADS/x.jpg", (403, "bucket-not-allowed")),
        ("s3://uploads/uploads", (403, "bucket-not-allowed")),
        ("s3://xrays/text.jpg", (415, "unsupported-format")),
        ("s3://xrays/" + "k" * 1025, (400, "malformed-request")),
        ("s3://xrays/a\nb.jpg", (400, "malformed-request")),
        ("s3://xrays/a\x85b.jpg", (400, "malformed-request")),
        ("s3://xrays", (400, "malformed-request")),
        ("http://xrays/x.jpg", (400, "malformed-request")),
        ("file:///etc/passwd", (400, "malformed-request")),
    ],
)
def test_an_address_that_does_not_do(client: TestClient, uri: str, expected: tuple[int, str]) -> None:
    assert status(client.post(PATH, json={"s3_uri": uri})) == expected


def test_a_listed_upload_bucket_gives_out_uploads_alone(s3) -> None:
    storage = Storage(dataclasses.replace(SETTINGS, buckets=("xrays", "uploads")))
    for key in ("uploads/x", "elsewhere/x", "uploads/../elsewhere/x"):
        s3.put_object(Bucket="uploads", Key=key, Body=b"x")

    assert storage.read("s3://uploads/uploads/x") == b"x"
    for key in ("elsewhere/x", "uploads/../elsewhere/x"):
        with pytest.raises(BucketNotAllowed):
            storage.read(f"s3://uploads/{key}")


def test_uploads_need_a_prefix() -> None:
    with pytest.raises(SettingsError, match="UPLOAD_PREFIX"):
        dataclasses.replace(SETTINGS, upload_prefix="")


def test_an_object_that_is_too_large_is_not_read(client: TestClient, s3) -> None:
    s3.put_object(Bucket="xrays", Key="large.bin", Body=bytes(100_001))

    assert status(client.post(PATH, json={"s3_uri": "s3://xrays/large.bin"})) == (413, "input-too-large")


def test_an_archived_object_is_an_error_of_its_own(client: TestClient, entry, s3) -> None:
    s3.put_object(Bucket="xrays", Key="cold.jpg", Body=jpeg(), StorageClass="GLACIER")

    alone = client.post(PATH, json={"s3_uri": "s3://xrays/cold.jpg"})
    batch = entry(load("map_batch", Items=[{"Key": "cold.jpg"}, {"Key": "text.jpg"}]))

    assert status(alone) == (409, "input-archived")
    assert "Restore the object" in alone.json()["detail"]
    assert [line["error"]["status"] for line in lines(s3, batch["output_key"])] == [409, 415]


def test_trouble_with_s3_is_worth_another_try(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")

    response = client.post(PATH, json={"s3_uri": "s3://xrays/two.jpg"})

    assert status(response) == (503, "storage-error")
    assert response.headers["retry-after"] == "2"


def test_a_service_without_credentials_tells_its_operator(
    client: TestClient, entry, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")

    for response in (client.post(PATH, json={"s3_uri": "s3://xrays/two.jpg"}), client.post("/v1/uploads", json={})):
        assert status(response) == (500, "internal-error")
        assert "credentials" in response.json()["detail"]
    with pytest.raises(SettingsError, match="credentials"):
        entry(load("map_batch"))


def refusing(http_status: int, code: str) -> AbstractContextManager[str]:
    """An S3 server that refuses all requests with this error."""
    return answering(http_status, f"<Error><Code>{code}</Code><Message>no</Message></Error>".encode())


@contextmanager
def answering(http_status: int, body: bytes, **headers: str) -> Iterator[str]:
    """An S3 server that gives all requests this answer, then closes the connection."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(http_status)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            self.wfile.write(body)

        def do_PUT(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.do_GET()

        def log_message(self, *_args: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as fixed_s3:
        Thread(target=fixed_s3.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{fixed_s3.server_port}"
        fixed_s3.shutdown()


@pytest.mark.parametrize(
    ("http_status", "code", "expected", "said"),
    [
        (403, "InvalidAccessKeyId", (500, "internal-error"), "renew"),
        (400, "ExpiredToken", (500, "internal-error"), "renew"),
        (400, "InvalidRequest", (404, "input-not-found"), "Check its encryption"),
        (400, "KMS.DisabledException", (404, "input-not-found"), "KMS.DisabledException"),
        (400, "ThrottlingException", (503, "storage-error"), "Try again later"),
    ],
)
def test_permanent_errors_of_s3_are_not_temporary_errors(
    client: TestClient,
    monkeypatch: pytest.MonkeyPatch,
    http_status: int,
    code: str,
    expected: tuple[int, str],
    said: str,
) -> None:
    with refusing(http_status, code) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
        response = client.post(PATH, json={"s3_uri": "s3://xrays/two.jpg"})

    assert status(response) == expected
    assert said in response.json()["detail"]


def test_a_connection_that_ends_within_an_object_is_a_temporary_error(
    client: TestClient, entry, monkeypatch: pytest.MonkeyPatch
) -> None:
    with answering(200, b"abc", content_length="5000") as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        response = client.post(PATH, json={"s3_uri": "s3://xrays/two.jpg"})
        queue = entry({"Records": load("queue")["Records"][:1]})
        with pytest.raises(StorageError):
            entry(load("map_batch"))

    assert status(response) == (503, "storage-error")
    assert len(queue["batchItemFailures"]) == 1


@pytest.mark.parametrize(
    ("size", "expected"), [(100_000, (415, "unsupported-format")), (100_001, (413, "input-too-large"))]
)
def test_an_object_without_a_length_is_read_up_to_the_limit(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, size: int, expected: tuple[int, str]
) -> None:
    with answering(200, b"x" * size) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        response = client.post(PATH, json={"s3_uri": "s3://xrays/two.jpg"})

    assert status(response) == expected


def test_a_result_that_s3_refuses_is_not_a_missing_image(s3, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: ARG001
    with refusing(400, "KMS.DisabledException") as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        with pytest.raises(SettingsError, match="DisabledException"):
            Storage(SETTINGS).write("s3://answers/a.json", b"{}", "application/json")


def test_a_missing_output_bucket_is_not_a_missing_image(s3, predictor: Predictor) -> None:  # noqa: ARG001
    settings = dataclasses.replace(SETTINGS, output_buckets=("gone",))
    event = load("map_batch")
    event["BatchInput"]["output_bucket"] = "gone"

    with pytest.raises(SettingsError, match="s3:PutObject"):
        Batches(settings, predictor, Storage(settings)).map_batch(event)


def test_a_large_file_goes_by_way_of_an_upload(client: TestClient) -> None:
    import httpx2

    # WHEN a form is requested and filled in, and its address is sent
    form = client.post("/v1/uploads", json={"content_type": "image/jpeg"})
    assert form.status_code == 201
    upload = form.json()
    sent = httpx2.post(upload["url"], data=upload["fields"], files={"file": ("x.jpg", jpeg(), "image/jpeg")})
    assert sent.status_code in (200, 204), sent.text
    answer = client.post(PATH, json={"s3_uri": upload["s3_uri"]})

    assert answer.json()["predictions"][0]["label"]
    # THEN the form is only valid for this upload, and for a short time
    assert upload["max_bytes"] == 100_000
    policy = json.loads(base64.b64decode(upload["fields"]["policy"]))
    assert ["content-length-range", 1, 100_000] in policy["conditions"]
    assert {"Content-Type": "image/jpeg"} in policy["conditions"]


@pytest.mark.parametrize("region", ["eu-west-1", "eu-central-1", "af-south-1"])
def test_a_form_is_for_the_bucket_s_own_region_and_signed_as_new_buckets_want_it(
    client: TestClient, region: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    monkeypatch.setenv("AWS_DEFAULT_REGION", region)

    form = client.post("/v1/uploads", json={"content_type": "image/jpeg"}).json()

    assert form["url"] == f"https://uploads.s3.{region}.amazonaws.com/"
    assert f"/{region}/s3/aws4_request" in form["fields"]["x-amz-credential"]
    assert "x-amz-signature" in form["fields"]


def test_uploads_are_unguessable(client: TestClient) -> None:
    uris = {client.post("/v1/uploads").json()["s3_uri"] for _ in range(5)}

    assert len(uris) == 5
    assert all(uri.startswith("s3://uploads/uploads/") and len(uri) > 50 for uri in uris)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"content_type": "text/html"}', (415, "unsupported-media")),
        (b'{"content_type": ["image/png"]}', (415, "unsupported-media")),
        (b'{"key": "x"}', (400, "malformed-request")),
        (b"[]", (400, "malformed-request")),
        (b"{", (400, "malformed-request")),
    ],
)
def test_a_wish_for_an_upload_that_does_not_do(client: TestClient, body: bytes, expected: tuple[int, str]) -> None:
    assert status(client.post("/v1/uploads", content=body, headers={"content-type": "application/json"})) == expected


def test_uploads_are_off_unless_a_bucket_is_named(make_client) -> None:
    assert status(make_client().post("/v1/uploads")) == (404, "uploads-disabled")


@pytest.fixture
def entry(s3, predictor: Predictor, monkeypatch: pytest.MonkeyPatch):  # noqa: ARG001
    """The Lambda entry with these settings."""
    monkeypatch.setattr(lambda_entry, "_batches", Batches(SETTINGS, predictor, Storage(SETTINGS)))
    return lambda event: lambda_entry.lambda_handler(event, Context())


def lines(s3, key: str) -> list[dict]:
    body = s3.get_object(Bucket="answers", Key=key)["Body"].read()
    return [json.loads(line) for line in body.splitlines()]


def test_a_batch_of_a_distributed_map_is_scored_into_one_object(entry, s3) -> None:
    answer = entry(load("map_batch"))

    # Synthetic images may be refused; the two broken ones must be.
    assert answer["scored"] + answer["failed"] == 4
    assert answer["output_key"].startswith("runs/7/")
    found = lines(s3, answer["output_key"])
    assert [line["s3_uri"] for line in found] == [
        "s3://xrays/ward 3/chest (one).jpg",
        "s3://xrays/two.jpg",
        "s3://xrays/text.jpg",
        "s3://xrays/missing.jpg",
    ]
    assert [line["error"]["status"] for line in found[2:]] == [415, 404]
    assert all(line["model"]["sha256"] for line in found)
    assert sum("error" in line for line in found) == answer["failed"]


def test_the_line_of_an_image_has_its_warnings(s3, classifier: Classifier) -> None:
    predictor = Predictor(classifier, decode)
    # At these limits every image is scored, and every image is unlike the training images.
    predictor.contract = dataclasses.replace(predictor.contract, ood_threshold=math.inf, unlike_threshold=1e-9)

    answer, _ = Batches(SETTINGS, predictor, Storage(SETTINGS)).map_batch(load("map_batch"))

    first, second, *_ = lines(s3, answer["output_key"])
    for line, data in ((first, jpeg()), (second, png(phantom(seed=2)))):
        assert "unlike_training" in {warning["code"] for warning in line["warnings"]}
        assert line["warnings"] == predictor.predict(data)["warnings"]


def test_a_batch_that_is_tried_again_changes_nothing(entry, s3) -> None:
    first = entry(load("map_batch"))
    before = s3.get_object(Bucket="answers", Key=first["output_key"])["Body"].read()

    assert entry(load("map_batch")) == first

    assert s3.get_object(Bucket="answers", Key=first["output_key"])["Body"].read() == before
    assert s3.list_objects_v2(Bucket="answers")["KeyCount"] == 1


def test_a_batch_in_times_of_trouble_is_left_for_another_attempt(entry, s3, monkeypatch: pytest.MonkeyPatch) -> None:
    def unavailable(*_args: object) -> bytes:
        raise StorageError("S3 has no time")

    monkeypatch.setattr(Storage, "read", unavailable)

    with pytest.raises(StorageError):
        entry(load("map_batch"))

    assert s3.list_objects_v2(Bucket="answers")["KeyCount"] == 0


def test_a_bug_that_one_image_meets_is_told_of_that_one(
    entry, s3, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    predict = Predictor.predict

    def explode(predictor: Predictor, data: bytes) -> Prediction:
        if data == b"text":
            raise ZeroDivisionError("PATIENT-4711")
        return predict(predictor, data)

    monkeypatch.setattr(Predictor, "predict", explode)

    answer = entry(load("map_batch", Items=[{"Key": "two.jpg"}, {"Key": "text.jpg"}]))

    assert (answer["scored"], answer["failed"]) == (1, 1)
    scored, failed = lines(s3, answer["output_key"])
    assert scored["label"]
    assert failed["error"]["status"] == 500
    log = capsys.readouterr().out
    assert "explode" in log
    assert "PATIENT-4711" not in log + json.dumps(failed)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"BatchInput": None}, MalformedRequest),
        ({"BatchInput": {"bucket": "xrays"}}, MalformedRequest),
        ({"BatchInput": {"bucket": "xrays", "output_bucket": "private"}}, BucketNotAllowed),
        ({"Items": "two.jpg"}, MalformedRequest),
        ({"Items": [{"key": "two.jpg"}]}, MalformedRequest),
    ],
)
def test_a_batch_of_another_form_is_an_error(entry, changes: dict, error: type[HandlerError]) -> None:
    with pytest.raises(error):
        entry(load("map_batch", **changes))


def test_queue_messages_are_scored_and_only_the_hopeless_come_again(entry, s3) -> None:
    answer = entry(load("queue"))

    assert answer == {"batchItemFailures": [{"itemIdentifier": "m-rubbish"}, {"itemIdentifier": "m-forbidden"}]}
    keys = [found["Key"] for found in s3.list_objects_v2(Bucket="answers")["Contents"]]
    assert len([key for key in keys if key.startswith("queue/")]) == 2
    [own] = lines(s3, "own/two.json")
    assert own["s3_uri"] == "s3://xrays/two.jpg"
    uris = {lines(s3, key)[0]["s3_uri"] for key in keys}
    assert "s3://xrays/ward 3/chest (one).jpg" in uris
    [text] = [line for key in keys for line in lines(s3, key) if line["s3_uri"].endswith("text.jpg")]
    assert text["error"]["status"] == 415


CHEST = "s3://xrays/ward 3/chest (one).jpg"
DELETED = [
    {"Records": [{"eventSource": "aws:s3", "eventName": "ObjectRemoved:Delete", "s3": {}}]},
    {"source": "aws.s3", "detail-type": "Object Deleted", "detail": {}},
]


def answered(s3) -> list[str]:
    keys = [found["Key"] for found in s3.list_objects_v2(Bucket="answers").get("Contents", [])]
    return [line["s3_uri"] for key in keys for line in lines(s3, key)]


@pytest.mark.parametrize("number", range(4))
def test_a_wrapped_notification_in_a_message_is_scored(entry, s3, number: int) -> None:
    record = load("queue_of_wrapped")["Records"][number]

    assert entry({"Records": [record]}) == {"batchItemFailures": []}
    assert answered(s3) == [CHEST]


@pytest.mark.parametrize("name", ["s3", "sns", "event_bridge"])
def test_a_notification_without_a_queue_is_scored(entry, s3, name: str) -> None:
    answer = entry(load(name))

    assert answer["scored"] + answer["failed"] == 1
    assert answered(s3) == [CHEST]
    before = [lines(s3, found["Key"]) for found in s3.list_objects_v2(Bucket="answers")["Contents"]]
    entry(load(name))
    assert before == [lines(s3, found["Key"]) for found in s3.list_objects_v2(Bucket="answers")["Contents"]]


@pytest.mark.parametrize("key", ["a+b.jpg", "50%25.jpg", "ä b.jpg"])
def test_only_s3_itself_encodes_keys(entry, s3, key: str) -> None:
    s3.put_object(Bucket="xrays", Key=key, Body=jpeg())
    by_event_bridge, by_s3 = load("event_bridge"), load("s3")
    by_event_bridge["detail"]["object"]["key"] = key
    by_s3["Records"][0]["s3"]["object"]["key"] = quote_plus(key)

    assert entry(by_event_bridge) == entry(by_s3)
    assert answered(s3) == [f"s3://xrays/{key}"]


@pytest.mark.parametrize("event", DELETED)
def test_what_was_deleted_is_not_scored(entry, s3, event: dict) -> None:
    assert entry(event) == {"scored": 0, "failed": 0}
    message = {"eventSource": "aws:sqs", "messageId": "m", "body": json.dumps(event)}
    assert entry({"Records": [message]}) == {"batchItemFailures": []}
    assert answered(s3) == []


@pytest.mark.parametrize("name", ["s3", "sns", "event_bridge"])
def test_a_notification_without_an_address_for_its_result_names_the_setting(
    name: str, predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(buckets=("xrays",))
    monkeypatch.setattr(lambda_entry, "_batches", Batches(settings, predictor, Storage(settings)))

    with pytest.raises(SettingsError, match="Set OUTPUT_S3_URI"):
        lambda_entry.lambda_handler(load(name), Context())


@pytest.mark.parametrize("name", ["s3", "sns", "event_bridge"])
def test_a_notification_in_times_of_trouble_is_left_for_another_attempt(
    entry, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")

    with pytest.raises(StorageError):
        entry(load(name))


@pytest.mark.parametrize(
    "event",
    [
        {"Records": [{"eventSource": "aws:s3"}]},
        {"Records": [{"EventSource": "aws:sns", "Sns": {"Message": "DOE^JANE"}}]},
        {"source": "aws.s3", "detail-type": "AWS API Call via CloudTrail", "detail": {"userName": "DOE^JANE"}},
    ],
)
def test_a_notification_of_another_kind_names_the_expected_kinds(entry, event: dict) -> None:
    with pytest.raises(MalformedRequest, match="Send an S3 notification") as raised:
        entry(event)

    assert "DOE" not in str(raised.value)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(WORDS) | st.text(), inner),
        max_leaves=20,
    )
)
def test_any_message_is_understood_or_refused(message: object) -> None:
    with suppress(MalformedRequest):
        assert all(uri.startswith("s3://") or uri == message["s3_uri"] for uri, _ in notified(message))


def test_a_message_with_half_a_letter_spoils_no_other(entry, s3) -> None:
    bodies = {"half": '{"s3_uri": "s3://xrays/\\ud800"}', "whole": '{"s3_uri": "s3://xrays/two.jpg"}'}
    records = [{"eventSource": "aws:sqs", "messageId": name, "body": body} for name, body in bodies.items()]

    # An image that cannot be scored has an error as its result, and is not a failure.
    assert entry({"Records": records}) == {"batchItemFailures": []}

    keys = [found["Key"] for found in s3.list_objects_v2(Bucket="answers")["Contents"]]
    by_uri = {line["s3_uri"]: line for key in keys for line in lines(s3, key)}
    assert by_uri["s3://xrays/\ud800"]["error"]["status"] == 400
    assert "s3://xrays/two.jpg" in by_uri


def test_an_answer_outlives_its_image(entry, s3) -> None:
    def told(event: str) -> dict:
        record = {"eventName": event, "s3": {"bucket": {"name": "xrays"}, "object": {"key": "two.jpg"}}}
        body = json.dumps({"Records": [record]})
        return entry({"Records": [{"eventSource": "aws:sqs", "messageId": "m", "body": body}]})

    assert told("ObjectCreated:Put") == {"batchItemFailures": []}
    [key] = [found["Key"] for found in s3.list_objects_v2(Bucket="answers")["Contents"]]
    s3.delete_object(Bucket="xrays", Key="two.jpg")
    assert told("ObjectRemoved:Delete") == {"batchItemFailures": []}

    assert lines(s3, key)[0]["label"]


def test_messages_in_times_of_trouble_come_again(entry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")

    failed = {failure["itemIdentifier"] for failure in entry(load("queue"))["batchItemFailures"]}

    assert failed == {"m-notification", "m-own", "m-text", "m-rubbish", "m-forbidden"}


def test_a_message_without_a_place_for_its_answer_comes_again(predictor: Predictor) -> None:
    settings = Settings(buckets=("xrays",))
    answer, [outcome] = Batches(settings, predictor, Storage(settings)).queue_messages(
        {"Records": [{"messageId": "m", "body": '{"s3_uri": "s3://xrays/two.jpg"}'}]}
    )

    assert answer == {"batchItemFailures": [{"itemIdentifier": "m"}]}
    assert isinstance(outcome, SettingsError)


@pytest.mark.parametrize(
    "uri",
    ["s3://b/k", "s3://b/a/b c", "s3://b/ä", "s3://b//", "s3://b/a\u3000b", "s3://b/a\u00a0b", "s3://b/a\u202fb"],
)
def test_addresses_are_split_at_the_bucket(uri: str) -> None:
    assert "s3://{}/{}".format(*parse_uri(uri)) == uri

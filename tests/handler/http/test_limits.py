"""Requests above the limits are refused before they take memory or time."""

import asyncio
import base64
import json
import threading
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from starlette.testclient import TestClient
from starlette.types import ASGIApp

from handler.classifier import Classifier
from handler.errors import Overloaded
from handler.http.admission import AdmissionLimiter
from handler.http.app import create_app
from handler.scoring import Predictor
from handler.settings import Settings
from tests.handler.answers import assert_refused
from tests.handler.images import jpeg

PATH = "/v1/predictions?force=true"


def test_a_body_with_a_too_large_content_length_is_refused(make_client) -> None:
    def body() -> Iterator[bytes]:
        for _ in range(100):
            yield bytes(1000)

    client = make_client(max_body_bytes=5000)

    assert_refused(client.post(PATH, content=body(), headers={"content-length": "100000"}), 413, "input-too-large")


@pytest.mark.parametrize("content_type", ["image/png", "application/json", "multipart/form-data; boundary=x"])
def test_a_body_that_does_not_say_is_cut_off(make_client, content_type: str) -> None:
    def endless() -> Iterator[bytes]:
        yield b'--x\r\ncontent-disposition: form-data; name="file"\r\n\r\n'
        yield from [bytes(1000)] * 20

    client = make_client(max_body_bytes=5000)

    assert_refused(client.post(PATH, content=endless(), headers={"content-type": content_type}), 413, "input-too-large")


@pytest.mark.parametrize("length", ["9" * 5000, "-1", "abc", "1e9", "0005"])
def test_an_invalid_content_length_is_not_a_crash(client: TestClient, length: str) -> None:
    assert client.post(PATH, content=jpeg(), headers={"content-length": length}).status_code in (200, 413)


def test_too_many_files_are_assert_refused(make_client) -> None:
    client = make_client(max_items=3)
    parts = [("file", ("x", jpeg()))]

    assert client.post(PATH, files=parts * 3).status_code == 200
    assert_refused(client.post(PATH, files=parts * 4), 413, "input-too-large")
    assert_refused(client.post(PATH, json={"items": [{"image": ""}] * 4}), 413, "input-too-large")


def test_images_that_are_not_begun_in_time_are_told_so(make_client) -> None:
    parts = [("file", ("x", jpeg()))]

    answer = make_client(request_budget_s=0).post(PATH, files=parts * 3)

    first, *late = answer.json()["predictions"]
    assert first["label"]
    assert [image["error"]["status"] for image in late] == [413, 413]
    assert "Send fewer or smaller images" in late[0]["error"]["detail"]


def test_a_crowd_is_told_to_come_back(make_client, classifier: Classifier, monkeypatch: pytest.MonkeyPatch) -> None:
    # GIVEN a service for two requests at a time, and a network that does not finish
    client = make_client(max_in_flight=2, workers=2, retry_after_s=7)
    score, busy, proceed = classifier.score, threading.Semaphore(0), threading.Event()

    def slow(*args, **named):
        busy.release()
        proceed.wait(10)
        return score(*args, **named)

    monkeypatch.setattr(classifier, "score", slow)
    with client, ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(client.post, PATH, content=jpeg()) for _ in range(2)]
        assert all(busy.acquire(timeout=10) for _ in waiting)
        late = client.post("/v1/uploads")
        proceed.set()
        # THEN the third is refused at once and the two are answered
        assert_refused(late, 503, "overloaded")
        assert late.headers["retry-after"] == "7"
        assert [request.result().status_code for request in waiting] == [200, 200]
    assert client.post(PATH, content=jpeg()).status_code == 200


def answered(app: ASGIApp, piece: bytes, pause_s: float = 0) -> dict:
    """The start of the application's answer to an endless body of such pieces."""
    sent = []

    async def receive() -> dict:
        await asyncio.sleep(pause_s)
        return {"type": "http.request", "body": piece, "more_body": True}

    async def send(message: dict) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/v1/predictions", "query_string": b"", "headers": []}

    asyncio.run(asyncio.wait_for(app(scope, receive, send), 20))
    return sent[0]


@pytest.mark.parametrize("limits", [{"body_timeout_s": 1}, {"min_bytes_per_s": 1_000_000}])
def test_a_body_that_dribbles_in_is_given_up(predictor: Predictor, limits: dict) -> None:
    answer = answered(create_app(Settings(**limits), predictor), b"x", pause_s=0.4)

    assert answer["status"] == 408
    assert (b"connection", b"close") in answer["headers"]


def test_a_body_in_tiny_pieces_is_given_up(predictor: Predictor) -> None:
    assert answered(create_app(Settings(), predictor), b"x")["status"] == 400
    assert answered(create_app(Settings(), predictor), bytes(1000))["status"] == 413


def test_bodies_have_so_many_bytes_together_and_no_more() -> None:
    admission = AdmissionLimiter(workers=1, max_in_flight=3, max_bytes=100)

    with admission.admitted() as first, admission.admitted() as second:
        first(60)
        second(30)
        with pytest.raises(Overloaded), admission.admitted() as third:
            third(11)
        second(10)
        with pytest.raises(Overloaded):
            first(1)
    with admission.admitted() as alone:
        alone(100)


def test_bytes_are_counted_until_the_answer(
    make_client, classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    # GIVEN a service for little more than one image at a time, and a network that does not finish
    image = jpeg()
    client = make_client(max_body_bytes=len(image), max_bytes_in_flight=len(image) + 10)
    score, busy, proceed = classifier.score, threading.Event(), threading.Event()

    def slow(*args, **named):
        busy.set()
        proceed.wait(10)
        return score(*args, **named)

    monkeypatch.setattr(classifier, "score", slow)
    with client, ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(client.post, PATH, content=image)
        assert busy.wait(10)
        late = client.post(PATH, content=image)
        proceed.set()
        # THEN a second one is refused meanwhile, and accepted afterwards
        assert_refused(late, 503, "overloaded")
        assert late.headers["retry-after"] == "2"
        assert waiting.result().status_code == 200
        assert client.post(PATH, content=image).status_code == 200


@pytest.mark.parametrize("item", [{"image": "\U0001f600" + "A" * 3_000_000}, {"s3_uri": "s3://x/" + "k" * 3_000_000}])
def test_text_that_cannot_be_used_is_not_kept(
    make_client, classifier: Classifier, monkeypatch: pytest.MonkeyPatch, item: dict[str, str]
) -> None:
    # GIVEN an image and such a text in one request
    good = {"image": base64.b64encode(jpeg()).decode()}
    body = json.dumps({"items": [good, item]}, ensure_ascii=False).encode()
    score, kept = classifier.score, []

    def measured(*args, **named):
        kept.append(tracemalloc.get_traced_memory()[0])
        return score(*args, **named)

    monkeypatch.setattr(classifier, "score", measured)
    client = make_client()
    # WHEN the image is scored
    tracemalloc.start()
    answer = client.post(PATH, content=body, headers={"content-type": "application/json"})
    tracemalloc.stop()

    # THEN the text is no longer in memory, and has an error in its place
    assert answer.json()["predictions"][1]["error"]["status"] == 400
    assert kept[0] < 1_000_000


def test_a_client_that_disconnects_is_not_a_failure(predictor: Predictor, capsys: pytest.CaptureFixture[str]) -> None:
    app = create_app(Settings(), predictor)

    async def receive() -> dict:
        return {"type": "http.disconnect"}

    async def send(message: dict) -> None:
        raise AssertionError(message)

    scope = {"type": "http", "method": "POST", "path": "/v1/predictions", "query_string": b"", "headers": []}

    asyncio.run(app(scope, receive, send))

    [line] = capsys.readouterr().out.splitlines()
    assert json.loads(line)["level"] == "INFO"

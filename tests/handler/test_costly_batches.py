"""Costly images among good ones, in batches and queues: the good ones are scored, and no message is sent again."""

import gc
import json
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from handler import lambda_entry
from handler.batch import Batches
from handler.classifier import Classifier
from handler.errors import InputNotFound, UnsupportedFormat
from handler.imaging.isolation import MAX_SLOW, Decoder
from handler.scoring import Predictor
from handler.settings import Settings
from tests.handler.costly import tall_tiles
from tests.handler.events import Context
from tests.handler.images import jpeg
from tests.tiny_bundle import write_tiny_bundle

COSTLY = tall_tiles()
SETTINGS = Settings(output_uri="s3://answers/queue/", decode_cpu_s=1, decode_timeout_s=20)


class MemoryStorage:
    """S3 as a dictionary."""

    def __init__(self, **objects: bytes) -> None:
        self.objects = {f"s3://images/{name}": data for name, data in objects.items()}

    def read(self, uri: str) -> bytes:
        if uri not in self.objects:
            raise InputNotFound("there is no such object")
        return self.objects[uri]

    def write(self, uri: str, data: bytes, media_type: str) -> None:  # noqa: ARG002
        self.objects[uri] = data

    def lines(self) -> dict[str, dict[str, Any]]:
        """All answers, by image."""
        answers = [data for uri, data in self.objects.items() if uri.startswith("s3://answers/")]
        return {line["s3_uri"]: line for answer in answers for line in map(json.loads, answer.splitlines())}


@pytest.fixture(scope="module")
def predictor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Predictor]:
    bundle = write_tiny_bundle(tmp_path_factory.mktemp("bundle") / "tiny")
    with Decoder(SETTINGS.decode_limits) as decoder:
        yield Predictor(Classifier(bundle), decoder.decode)


@pytest.fixture
def invoke(predictor: Predictor, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """Lambda's entry point with a storage and a time limit."""

    def run(event: dict[str, Any], storage: MemoryStorage, seconds: float = 600) -> dict[str, Any]:
        monkeypatch.setattr(lambda_entry, "_batches", Batches(SETTINGS, predictor, storage))  # type: ignore[arg-type]
        return lambda_entry.lambda_handler(event, Context(remaining_time_in_millis=int(seconds * 1000)))

    return run


def queue(*names: str) -> dict[str, Any]:
    records = [
        {"messageId": name, "eventSource": "aws:sqs", "body": json.dumps({"s3_uri": f"s3://images/{name}"})}
        for name in names
    ]
    return {"Records": records}


def batch(*names: str) -> dict[str, Any]:
    wanted = {"bucket": "images", "output_bucket": "answers", "output_prefix": "map"}
    return {"Items": [{"Key": name} for name in names], "BatchInput": wanted}


def outcomes(storage: MemoryStorage) -> dict[str, object]:
    return {
        uri.rpartition("/")[2]: line["error"]["status"] if "error" in line else "label" in line
        for uri, line in storage.lines().items()
    }


def test_a_costly_image_in_a_queue_is_an_answer(invoke) -> None:
    storage = MemoryStorage(**{f"good{n}": jpeg() for n in range(8)}, costly=COSTLY, text=b"text")

    answer = invoke(queue(*(uri.rpartition("/")[2] for uri in storage.objects)), storage)

    assert answer == {"batchItemFailures": []}
    assert outcomes(storage) == {f"good{n}": True for n in range(8)} | {"costly": 413, "text": 415}
    assert "Decoding takes more than" in storage.lines()["s3://images/costly"]["error"]["detail"]


def test_more_costly_images_than_may_be_slow_at_once_are_answers_too(invoke) -> None:
    names = [f"{kind}{n}" for n in range(MAX_SLOW + 1) for kind in ("costly", "good")]
    storage = MemoryStorage(**{name: jpeg() if "good" in name else COSTLY for name in names})

    answer = invoke(batch(*names), storage)

    assert answer | {"output_key": ""} == {"output_key": "", "scored": MAX_SLOW + 1, "failed": MAX_SLOW + 1}
    assert outcomes(storage) == {name: True if "good" in name else 413 for name in names}


def test_what_cannot_be_begun_in_time_is_told_so(invoke) -> None:
    storage = MemoryStorage(good=jpeg(), costly=COSTLY)

    answer = invoke(batch("costly", "good"), storage, seconds=20)

    assert answer | {"output_key": ""} == {"output_key": "", "scored": 0, "failed": 2}
    assert all("smaller batch" in line["error"]["detail"] for line in storage.lines().values())


def test_an_image_that_was_begun_in_time_ends_in_time(invoke) -> None:
    storage = MemoryStorage(good=jpeg(), costly=COSTLY)

    invoke(batch("costly", "good"), storage, seconds=60)

    assert outcomes(storage) == {"good": True, "costly": 413}


def test_a_batch_keeps_no_image_that_was_refused(predictor: Predictor) -> None:
    """Otherwise a batch of a hundred images would have all of them in memory at its end."""

    class Fresh(MemoryStorage):
        def read(self, uri: str) -> bytes:
            return super().read(uri) + bytes(4 << 20)

    batches = Batches(SETTINGS, predictor, Fresh(a=b"text", b=b"text"))  # type: ignore[arg-type]

    gc.disable()
    tracemalloc.start()
    try:
        _, refused = batches.map_batch(batch("a", "b"))
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        gc.enable()

    assert [type(outcome) for outcome in refused] == [UnsupportedFormat] * 2
    assert kept < 1 << 20

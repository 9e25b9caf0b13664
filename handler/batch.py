"""Images in bulk: batches of a Step Functions Distributed Map, and messages of an SQS queue.

Each image goes through the same scoring function as over HTTP. What will never succeed is listed as failed; what may
succeed later makes the batch, or the one message, come again.
"""

import hashlib
import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from time import monotonic
from typing import Any

from handler.errors import (
    HandlerError,
    InputError,
    InputTooLarge,
    MalformedRequest,
    Overloaded,
    SettingsError,
    TemporaryError,
    Unexpected,
)
from handler.http.problems import problem_of
from handler.http.responses import encoded
from handler.notifications import notified
from handler.scoring import Outcome, Predictor, identity
from handler.settings import Settings
from handler.storage import Storage

_TO_WRITE_S = 3
"""Seconds kept for writing the answers."""

_READERS = 8
"""Objects fetched at the same time: S3 takes tens of milliseconds to answer, the network less."""


class Batches:
    """Scores events that are no HTTP requests."""

    def __init__(self, settings: Settings, predictor: Predictor, storage: Storage) -> None:
        self._settings = settings
        self._predictor = predictor
        self._storage = storage

    def map_batch(self, event: dict[str, Any], seconds: float = math.inf) -> tuple[dict[str, Any], list[Outcome]]:
        """Score one batch of a Distributed Map into one JSON Lines object.

        Its key is a hash of the list of items and its content has nothing that changes between attempts, so a batch
        that is tried again replaces its own answer by the same.

        Args:
            event: `Items`, each with `Key` or `s3_uri`, and `BatchInput` with `output_bucket`, `output_prefix` and, for
                items with a `Key`, `bucket`.
            seconds: left until the invocation ends.

        Returns:
            `output_key`, and how many were `scored` and have `failed`; and the outcomes.

        Raises:
            MalformedRequest: the event has another form.
            TemporaryError: S3 has trouble; nothing was written.
        """
        wanted = event.get("BatchInput")
        items = event["Items"]
        if not isinstance(wanted, dict) or not isinstance(items, list):
            raise MalformedRequest("expected `Items`, a list, and `BatchInput`, an object")
        uris = [_item_uri(item, wanted) for item in items]
        outcomes = self._score(uris, seconds)
        for outcome in outcomes:
            if isinstance(outcome, TemporaryError):
                raise outcome
        lines = [self._line(uri, outcome) for uri, outcome in zip(uris, outcomes, strict=True)]
        key = f"{_text(wanted, 'output_prefix', '').strip('/')}/{_digest(uris)}.jsonl".lstrip("/")
        self._storage.write(f"s3://{_text(wanted, 'output_bucket')}/{key}", b"".join(lines), "application/jsonl")
        failed = sum(isinstance(outcome, HandlerError) for outcome in outcomes)
        return {"output_key": key, "scored": len(outcomes) - failed, "failed": failed}, outcomes

    def queue_messages(self, event: dict[str, Any], seconds: float = math.inf) -> tuple[dict[str, Any], list[Outcome]]:
        """Score the images that queue messages point to, see `handler.notifications`.

        Args:
            seconds: left until the invocation ends.

        Returns:
            `batchItemFailures` with the messages that shall come again, after a few attempts in the dead-letter queue:
            those that met trouble with S3, and those that cannot be understood. An image that cannot be scored is an
            answer and not a failure. And the outcomes.
        """
        outcomes: list[Outcome] = []
        failed: set[str] = set()
        wanted: list[tuple[str, str, str]] = []  # message, image, place of the answer
        for record in event["Records"]:
            try:
                wanted += [(record["messageId"], *pair) for pair in self._addressed(record.get("body"))]
            except HandlerError as exc:
                outcomes.append(exc)
                failed.add(record["messageId"])
        scored = self._score([uri for _, uri, _ in wanted], seconds)
        for (message, uri, output), outcome in zip(wanted, scored, strict=True):
            try:
                self._write(uri, output, outcome)
                outcomes.append(outcome)
            except HandlerError as exc:
                outcomes.append(exc)
                failed.add(message)
        messages = dict.fromkeys(record["messageId"] for record in event["Records"])
        return {"batchItemFailures": [{"itemIdentifier": each} for each in messages if each in failed]}, outcomes

    def notification(self, event: dict[str, Any], seconds: float = math.inf) -> tuple[dict[str, Any], list[Outcome]]:
        """Score the images of an event that S3, SNS or EventBridge sent without a queue.

        Args:
            seconds: left until the invocation ends.

        Returns:
            How many were `scored` and have `failed`; and the outcomes.

        Raises:
            MalformedRequest: it tells of no object.
            SettingsError: OUTPUT_S3_URI does not say where answers go.
            TemporaryError: S3 has trouble; Lambda sends such an event again.
        """
        addressed = self._addressed(event)
        outcomes = self._score([uri for uri, _ in addressed], seconds)
        for (uri, output), outcome in zip(addressed, outcomes, strict=True):
            self._write(uri, output, outcome)
        failed = sum(isinstance(outcome, HandlerError) for outcome in outcomes)
        return {"scored": len(outcomes) - failed, "failed": failed}, outcomes

    def _write(self, uri: str, output: str, outcome: Outcome) -> None:
        """Store an answer. What may succeed later is none, and raised instead."""
        if isinstance(outcome, TemporaryError):
            raise outcome
        self._storage.write(output, self._line(uri, outcome), "application/json")

    def _score(self, uris: Sequence[str], seconds: float) -> list[Outcome]:
        """Fetch and score, in order. What is slow to decode waits until the others are done."""
        last_begin = monotonic() + seconds - self._settings.decode_timeout_s - _TO_WRITE_S
        attempt = partial(self._attempt, last_begin=last_begin)
        with ThreadPoolExecutor(_READERS) as pool:
            outcomes = list(pool.map(attempt, uris))
        for index, outcome in enumerate(outcomes):
            if isinstance(outcome, Overloaded):
                outcomes[index] = attempt(uris[index])
        return outcomes

    def _attempt(self, uri: str, last_begin: float) -> Outcome:
        if monotonic() > last_begin:
            return InputTooLarge(
                "The time of the batch was spent on other images before this image's turn. Score it in a smaller batch."
            )
        try:
            return self._predictor.predict(self._storage.read(uri))
        except (InputError, TemporaryError) as exc:
            return exc.bare()
        except HandlerError:
            raise
        except Exception as exc:  # it shall spoil no other image
            bug = Unexpected(f"something unexpected went wrong with this image ({type(exc).__name__}): report it")
            bug.__cause__ = exc
            return bug

    def _line(self, uri: str, outcome: Outcome) -> bytes:
        """One image's answer as a line of JSON. Timings would differ from attempt to attempt."""
        if isinstance(outcome, HandlerError):
            answer: dict[str, Any] = {"error": problem_of(outcome)}
        else:
            answer = {name: value for name, value in outcome.items() if name != "timings"}
        return encoded({"s3_uri": uri, "model": identity(self._predictor.contract), **answer}) + b"\n"

    def _addressed(self, message: Any) -> list[tuple[str, str]]:
        """The images that a message points to, each with the place for its answer."""
        return [(uri, output or self._default_output(uri)) for uri, output in notified(message)]

    def _default_output(self, uri: str) -> str:
        if not self._settings.output_uri:
            raise SettingsError(
                "there is no place for the answer: set OUTPUT_S3_URI and list its bucket in S3_OUTPUT_BUCKETS, or send "
                "messages with `s3_uri` and `output_s3_uri` to the queue"
            )
        return f"{self._settings.output_uri}{_digest([uri])}.json"


def _digest(uris: list[str]) -> str:
    """A name for the answer to these. Not every string that JSON can spell has a UTF-8 form."""
    return hashlib.sha256("\n".join(uris).encode("utf-8", "backslashreplace")).hexdigest()


def _item_uri(item: Any, wanted: dict[str, Any]) -> str:
    match item:
        case {"s3_uri": str(uri)}:
            return uri
        case {"Key": str(key)}:
            return f"s3://{_text(wanted, 'bucket')}/{key}"
    raise MalformedRequest("each of `Items` must be an object with `Key` or `s3_uri`")


def _text(wanted: dict[str, Any], name: str, default: str | None = None) -> str:
    value = wanted.get(name, default)
    if not isinstance(value, str):
        raise MalformedRequest(f"`BatchInput` needs `{name}`, a string")
    return value

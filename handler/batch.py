"""Score many images: batches of a Step Functions Distributed Map, and messages of an SQS queue.

The scoring function is the same as over HTTP. An image with a permanent error is reported as failed. After a temporary
error, the whole batch or the one message is sent again.
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
"""Seconds reserved for writing the results."""

_READERS = 8
"""Objects fetched at the same time: a response of S3 takes tens of milliseconds, inference takes less."""


class Batches:
    """Scores the images of events that are not HTTP requests."""

    def __init__(self, settings: Settings, predictor: Predictor, storage: Storage) -> None:
        self._settings = settings
        self._predictor = predictor
        self._storage = storage

    def map_batch(self, event: dict[str, Any], seconds: float = math.inf) -> tuple[dict[str, Any], list[Outcome]]:
        """Score one batch of a Distributed Map into one JSON Lines object.

        The key is a hash of the list of items, and the content is the same at each attempt. So a repeated batch
        replaces its result by an equal one.

        Args:
            event: `Items`, each with `Key` or `s3_uri`, and `BatchInput` with `output_bucket`, `output_prefix` and, for
                items with a `Key`, `bucket`.
            seconds: left until the invocation ends.

        Returns:
            `output_key` and the numbers of `scored` and `failed` images; and the outcomes.

        Raises:
            MalformedRequest: the event has another form.
            TemporaryError: S3 has a temporary error; nothing was written.
        """
        wanted = event.get("BatchInput")
        items = event["Items"]
        if not isinstance(wanted, dict) or not isinstance(items, list):
            raise MalformedRequest("The event must contain `Items`, a list, and `BatchInput`, an object.")
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
        """Score the images that queue messages name, see `handler.notifications`.

        Args:
            seconds: left until the invocation ends.

        Returns:
            `batchItemFailures`, and the outcomes. The former lists the messages that SQS sends again, and moves to the
            dead-letter queue after a few attempts: those with an S3 error, and those of an unknown form. An image that
            cannot be scored is not a failure: its error is written as its result.
        """
        outcomes: list[Outcome] = []
        failed: set[str] = set()
        wanted: list[tuple[str, str, str]] = []  # message, image, URI for the result
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
            The numbers of `scored` and `failed` images; and the outcomes.

        Raises:
            MalformedRequest: the event does not name an object.
            SettingsError: OUTPUT_S3_URI is not set.
            TemporaryError: S3 has a temporary error; Lambda sends such an event again.
        """
        addressed = self._addressed(event)
        outcomes = self._score([uri for uri, _ in addressed], seconds)
        for (uri, output), outcome in zip(addressed, outcomes, strict=True):
            self._write(uri, output, outcome)
        failed = sum(isinstance(outcome, HandlerError) for outcome in outcomes)
        return {"scored": len(outcomes) - failed, "failed": failed}, outcomes

    def _write(self, uri: str, output: str, outcome: Outcome) -> None:
        """Write a result. A temporary error is raised instead, so that the image is tried again."""
        if isinstance(outcome, TemporaryError):
            raise outcome
        self._storage.write(output, self._line(uri, outcome), "application/json")

    def _score(self, uris: Sequence[str], seconds: float) -> list[Outcome]:
        """Fetch and score, in order. Images that are slow to decode may be tried again after the others."""
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
                "The time limit of the batch was reached before this image was started. Score it in a smaller batch."
            )
        try:
            return self._predictor.predict(self._storage.read(uri))
        except (InputError, TemporaryError) as exc:
            return exc.bare()
        except HandlerError:
            raise
        except Exception as exc:  # a bug in one image must not stop the others
            bug = Unexpected(f"The image caused an unexpected error ({type(exc).__name__}). Report it.")
            bug.__cause__ = exc
            return bug

    def _line(self, uri: str, outcome: Outcome) -> bytes:
        """One image's result as a line of JSON. Timings are left out, because they differ between attempts."""
        if isinstance(outcome, HandlerError):
            answer: dict[str, Any] = {"error": problem_of(outcome)}
        else:
            answer = {name: value for name, value in outcome.items() if name != "timings"}
        return encoded({"s3_uri": uri, "model": identity(self._predictor.contract), **answer}) + b"\n"

    def _addressed(self, message: Any) -> list[tuple[str, str]]:
        """Return the images that a message names, each with the URI for its result."""
        return [(uri, output or self._default_output(uri)) for uri, output in notified(message)]

    def _default_output(self, uri: str) -> str:
        if not self._settings.output_uri:
            raise SettingsError(
                "There is no address for results. Set OUTPUT_S3_URI and list its bucket in S3_OUTPUT_BUCKETS, or send "
                "messages with `s3_uri` and `output_s3_uri` to the queue."
            )
        return f"{self._settings.output_uri}{_digest([uri])}.json"


def _digest(uris: list[str]) -> str:
    """Return a name for the result of these URIs. JSON may contain lone surrogates, which UTF-8 cannot encode."""
    return hashlib.sha256("\n".join(uris).encode("utf-8", "backslashreplace")).hexdigest()


def _item_uri(item: Any, wanted: dict[str, Any]) -> str:
    match item:
        case {"s3_uri": str(uri)}:
            return uri
        case {"Key": str(key)}:
            return f"s3://{_text(wanted, 'bucket')}/{key}"
    raise MalformedRequest("Each of `Items` must be an object with `Key` or `s3_uri`.")


def _text(wanted: dict[str, Any], name: str, default: str | None = None) -> str:
    value = wanted.get(name, default)
    if not isinstance(value, str):
        raise MalformedRequest(f"`BatchInput` needs `{name}`, a string.")
    return value

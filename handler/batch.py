"""Pictures in bulk: batches of a Step Functions Distributed Map, and messages of an SQS queue.

Each picture goes through the same scoring function as over HTTP. What will never succeed is listed as failed; what may
succeed later makes the batch, or the one message, come again.
"""

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import BoundedSemaphore
from typing import Any

from handler.classifier import Classifier, granted_threads
from handler.errors import HandlerError, InputError, MalformedRequest, SettingsError, TemporaryError, Unexpected
from handler.http.problems import problem_of
from handler.http.responses import encoded
from handler.notifications import notified
from handler.scoring import identity, predict
from handler.settings import Settings
from handler.storage import Storage
from handler.telemetry import Outcome

_READERS = 8
"""Objects fetched at the same time: S3 takes tens of milliseconds to answer, the network less."""


class Batches:
    """Scores events that are no HTTP requests."""

    def __init__(self, settings: Settings, classifier: Classifier, storage: Storage) -> None:
        self._settings = settings
        self._classifier = classifier
        self._storage = storage
        # Large pictures take tens of megabytes each while they are decoded: no more at a time than there are CPUs.
        self._turn = BoundedSemaphore(granted_threads())

    def map_batch(self, event: dict[str, Any]) -> tuple[dict[str, Any], list[Outcome]]:
        """Score one batch of a Distributed Map into one JSON Lines object.

        Its key is a hash of the list of items and its content has nothing that changes between attempts, so a batch
        that is tried again replaces its own answer by the same.

        Args:
            event: `Items`, each with `Key` or `s3_uri`, and `BatchInput` with `output_bucket`, `output_prefix` and, for
                items with a `Key`, `bucket`.

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
        outcomes = self._score(uris)
        lines = [self._line(uri, outcome) for uri, outcome in zip(uris, outcomes, strict=True)]
        key = f"{_text(wanted, 'output_prefix', '').strip('/')}/{_digest(uris)}.jsonl".lstrip("/")
        self._storage.write(f"s3://{_text(wanted, 'output_bucket')}/{key}", b"".join(lines), "application/jsonl")
        failed = sum(isinstance(outcome, HandlerError) for outcome in outcomes)
        return {"output_key": key, "scored": len(outcomes) - failed, "failed": failed}, outcomes

    def queue_messages(self, event: dict[str, Any]) -> tuple[dict[str, Any], list[Outcome]]:
        """Score the images that queue messages point to, see `handler.notifications`.

        Returns:
            `batchItemFailures` with the messages that shall come again, after a few attempts in the dead-letter queue:
            those that met trouble with S3, and those that nobody can act on. A picture that cannot be scored is an
            answer and not a failure. And the outcomes.
        """
        failures: list[dict[str, str]] = []
        outcomes: list[Outcome] = []
        for record in event["Records"]:
            try:
                for uri, output in self._addressed(record.get("body")):
                    outcome = self._score([uri])[0]
                    outcomes.append(outcome)
                    self._storage.write(output, self._line(uri, outcome), "application/json")
            except HandlerError as exc:
                outcomes.append(exc)
                failures.append({"itemIdentifier": record["messageId"]})
        return {"batchItemFailures": failures}, outcomes

    def notification(self, event: dict[str, Any]) -> tuple[dict[str, Any], list[Outcome]]:
        """Score the images that an event tells of which S3, SNS or EventBridge sent without a queue.

        Returns:
            How many were `scored` and have `failed`; and the outcomes.

        Raises:
            MalformedRequest: it tells of no object.
            SettingsError: OUTPUT_S3_URI does not say where answers go.
            TemporaryError: S3 has trouble; Lambda sends such an event again.
        """
        outcomes: list[Outcome] = []
        for uri, output in self._addressed(event):
            outcome = self._score([uri])[0]
            outcomes.append(outcome)
            self._storage.write(output, self._line(uri, outcome), "application/json")
        failed = sum(isinstance(outcome, HandlerError) for outcome in outcomes)
        return {"scored": len(outcomes) - failed, "failed": failed}, outcomes

    def _score(self, uris: Sequence[str]) -> list[Outcome]:
        """Fetch and score, in order.

        Raises:
            TemporaryError: any of them met trouble that may pass.
        """
        with ThreadPoolExecutor(_READERS) as pool:
            outcomes = list(pool.map(self._attempt, uris))
        for outcome in outcomes:
            if isinstance(outcome, TemporaryError):
                raise outcome
        return outcomes

    def _attempt(self, uri: str) -> Outcome:
        try:
            data = self._storage.read(uri)
            with self._turn:
                return predict(self._classifier, data)
        except (InputError, TemporaryError) as exc:
            return exc
        except HandlerError:
            raise
        except Exception as exc:  # it shall spoil no other picture
            bug = Unexpected(f"something unexpected went wrong with this picture ({type(exc).__name__}): report it")
            bug.__cause__ = exc
            return bug

    def _line(self, uri: str, outcome: Outcome) -> bytes:
        """One picture's answer as a line of JSON. Timings would differ from attempt to attempt."""
        if isinstance(outcome, HandlerError):
            answer: dict[str, Any] = {"error": problem_of(outcome)}
        else:
            answer = {name: value for name, value in outcome.items() if name != "timings"}
        return encoded({"s3_uri": uri, "model": identity(self._classifier.contract), **answer}) + b"\n"

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

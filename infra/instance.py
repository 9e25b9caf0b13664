"""Run one instance of the function like Lambda: a container with Lambda's share of CPU, behind the emulator."""

import contextlib
import json
import re
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from handler.settings import MB_PER_VCPU
from infra.engine import EMULATOR_PLACE, LOCKED_DOWN, EngineError, container, container_log, docker

MOST_VCPUS = 6
PORT = 8080
PATH = "/2015-03-31/functions/function/invocations"

START_S = 120
"""Time limit in seconds for the first answer. With a quarter of a vCPU, it takes about ten seconds."""

ANSWER_S = 60
POLL_S = 0.005

_INIT = re.compile(r"INIT REPORT\(durationMs: ([\d.]+)\)")
_REPORT = re.compile(r"^REPORT RequestId: .*?\tDuration: ([\d.]+) ms\tBilled Duration: (\d+) ms", re.MULTILINE)


def vcpus(memory: int) -> float:
    """Return the number of vCPUs that Lambda grants a function with `memory` MB."""
    return min(memory / MB_PER_VCPU, MOST_VCPUS)


@dataclass(frozen=True, slots=True)
class Reports:
    """Times of an instance from the emulator's log, in milliseconds."""

    init_ms: float
    """From the start of the runtime until it asks for an event: imports, loading of the model, a first inference."""

    duration_ms: list[float]
    """Duration of each invocation, as in Lambda's REPORT line. The first one includes the initialization."""

    billed_ms: list[int]
    """The same, rounded up as Lambda bills it."""


class Instance:
    """A running container. `instance` makes it."""

    def __init__(self, identity: str) -> None:
        self._identity = identity
        address = docker("port", identity, PORT).splitlines()[0]
        self._url = f"http://{address}{PATH}"
        self._asked = 0

    def invoke(self, event: bytes) -> dict[str, Any]:
        """Send an event and wait for the answer.

        Raises:
            OSError: there is no answer, because the container is starting or has ended.
        """
        with urllib.request.urlopen(self._url, event, timeout=ANSWER_S) as answer:  # noqa: S310
            self._asked += 1
            return dict(json.load(answer))

    def first_answer(self, event: bytes) -> tuple[dict[str, Any], float]:
        """Send an event as soon as the emulator accepts one, which starts the runtime.

        Returns:
            The answer, and the seconds from the start of the container's process to the answer.

        Raises:
            EngineError: there is no answer within `START_S`.
        """
        deadline = time.monotonic() + START_S
        while True:
            try:
                answer = self.invoke(event)
            except urllib.error.HTTPError as exc:
                raise EngineError(
                    f"the emulator refuses the event with status {exc.code}: {self._last_words()}"
                ) from exc
            except OSError as exc:
                if time.monotonic() > deadline:
                    raise EngineError(f"no answer within {START_S} s: {self._last_words()}") from exc
                time.sleep(POLL_S)
            else:
                answered = datetime.now(UTC)
                started = docker("inspect", "--format", "{{.State.StartedAt}}", self._identity)
                return answer, (answered - datetime.fromisoformat(started)).total_seconds()

    def reports(self) -> Reports:
        """Read the times of the invocations until now from the emulator's log.

        Raises:
            EngineError: the log has an unexpected form.
        """
        deadline = time.monotonic() + ANSWER_S
        while True:
            log = container_log(self._identity)
            init, found = _INIT.search(log), _REPORT.findall(log)
            # The line about an invocation is written after the answer.
            if init and len(found) == self._asked:
                return Reports(float(init[1]), [float(ms) for ms, _ in found], [int(ms) for _, ms in found])
            if time.monotonic() > deadline:
                raise EngineError(
                    f"the emulator reports {len(found)} of {self._asked} invocations; its lines may have another form "
                    f"than that of SAM's emulator, 1.170: {self._last_words()}"
                )
            time.sleep(POLL_S)

    def _last_words(self) -> str:
        return container_log(self._identity)[-2000:]


@contextlib.contextmanager
def instance(image: str, memory: int, cores: int, emulator: Path) -> Iterator[Instance]:
    """Run a new instance.

    Args:
        image: an image of the target `lambda`.
        memory: memory of the function in MB.
        cores: number of cores of the engine, which limits the vCPUs.
        emulator: AWS's runtime interface emulator.

    Raises:
        EngineError: it cannot be started.
    """
    options = (
        *LOCKED_DOWN,
        *("--memory", f"{memory}m", "--memory-swap", f"{memory}m"),
        *("--cpus", f"{min(vcpus(memory), cores):.3f}"),
        *("--env", f"AWS_LAMBDA_FUNCTION_MEMORY_SIZE={memory}"),
        *("--volume", f"{emulator}:{EMULATOR_PLACE}:ro"),
        *("--publish", f"127.0.0.1::{PORT}"),
    )
    with container(image, *options) as identity:
        yield Instance(identity)

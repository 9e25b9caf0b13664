"""The runners of a benchmark, each in a separate process."""

import dataclasses
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self

from export.benchmark.child_process import Answer, ChildProcess
from export.benchmark.environment import environment, pinned
from export.benchmark.signature import Input
from export.errors import RunnerError
from handler.contract import MODEL_FILE


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Runner:
    """A model in a runtime."""

    name: str
    """Of the runtime and the arithmetic."""
    network: str
    """What it runs. Runners of one network have different names."""
    model: str
    version: str | None = None
    """Of the model."""
    runtime: str
    """A key of `export.benchmark.runtimes.RUNTIMES`."""
    file: Path
    """The model's file, or the folder of a bundle."""
    size: int = 64
    """Width and height of its images, in pixels."""
    channels: int = 1
    bundle: bool = False
    """See `export.benchmark.runtimes.ModelFile`."""
    output: int = 0
    """See `export.benchmark.runtimes.ModelFile`."""
    inputs: tuple[Input, ...] = ()
    """Of a model that does not take images."""
    macs: int | None = None
    """Multiply-accumulates of a query of one image, if they could be counted."""
    trained: bool = False
    """Whether accuracy can be measured: random weights have none."""
    labels: tuple[str, ...] | None = None
    """Class names in the order of its probabilities; None if it does not know them."""
    threshold: float | None = None
    """See `handler.contract.decide`."""

    @property
    def key(self) -> str:
        """No other runner has it."""
        return f"{self.network}: {self.name}"

    @property
    def model_mb(self) -> float:
        """Size of the model's file in MB (10^6 bytes)."""
        return (self.file / MODEL_FILE if self.file.is_dir() else self.file).stat().st_size / 1e6


class RunnerPool:
    """Starts a process for each runner and keeps those that work. Use as a context manager, which ends the processes.

    Args:
        runners: their keys differ.
        threads: of each process, and CPU cores that it may use.

    Attributes:
        running: the processes by the key of the runner.
        stopped: why the others do not run, by key.
    """

    def __init__(self, runners: Iterable[Runner], threads: int) -> None:
        self.running: dict[str, ChildProcess] = {}
        self.stopped: dict[str, RunnerError] = {}
        with pinned(threads):
            for runner in runners:
                self.running[runner.key] = _start(runner, threads)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.running.values():
            process.close()

    def ask(self, key: str, **request: Any) -> Answer | None:
        """A runner's answer to a request of `export.benchmark.runner_process`; None if it does not run, or fails now,
        which ends it.
        """
        if key not in self.running:
            return None
        try:
            return self.running[key].ask(**request)
        except RunnerError as exc:
            self.stopped[key] = exc
            self.dismiss(key)
            return None

    def ask_each(self, **request: Any) -> dict[str, Answer]:
        """Ask all runners in turn; the answers of those that do not fail, by key."""
        return {key: answer for key in list(self.running) if (answer := self.ask(key, **request)) is not None}

    def dismiss(self, key: str) -> None:
        """End a runner's process, if there is one."""
        if process := self.running.pop(key, None):
            process.close()


def _start(runner: Runner, threads: int) -> ChildProcess:
    options = {
        "--size": runner.size,
        "--channels": runner.channels,
        "--threads": threads,
        "--output": runner.output,
        "--inputs": json.dumps([dataclasses.astuple(one) for one in runner.inputs]),
    }
    arguments = [runner.runtime, str(runner.file.resolve()), *(str(text) for pair in options.items() for text in pair)]
    arguments += ["--bundle"] if runner.bundle else []
    return ChildProcess("export.benchmark.runner_process", arguments, environment(threads))

"""The runners of a benchmark, each in a process of its own."""

import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self

from tqdm import tqdm

from export.benchmark.child_process import Answer, ChildProcess
from export.benchmark.environment import environment, pinned
from export.errors import RunnerError
from handler.contract import MODEL_FILE


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Runner:
    """A model in a runtime."""

    name: str
    runtime: str
    """A key of `export.benchmark.runtimes.RUNTIMES`."""
    file: Path
    """The model's file, or the folder of a bundle."""
    size: int = 64
    """Width and height of its images, in pixels."""
    channels: int = 1
    macs: int | None = None
    """Multiply-accumulates per image, if they could be counted."""
    trained: bool = False
    """Whether accuracy can be measured: random weights have none."""
    labels: tuple[str, ...] | None = None
    """Class names in the order of its probabilities; None if it does not know them."""
    threshold: float | None = None
    """See `handler.contract.decide`."""

    @property
    def model_mb(self) -> float:
        """Size of the model's file in MB (10^6 bytes)."""
        return (self.file / MODEL_FILE if self.file.is_dir() else self.file).stat().st_size / 1e6


class RunnerPool:
    """Starts a process for each runner and keeps those that work. Use as a context manager, which ends the processes.

    Args:
        runners: their names differ.
        threads: of each process, and CPU cores that it may use.

    Attributes:
        running: the processes by the name of the runner.
        stopped: why the others do not run, by name.
    """

    def __init__(self, runners: Iterable[Runner], threads: int) -> None:
        self.running: dict[str, ChildProcess] = {}
        self.stopped: dict[str, RunnerError] = {}
        with pinned(threads):
            for runner in runners:
                self.running[runner.name] = _start(runner, threads)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.running.values():
            process.close()

    def ask(self, name: str, **request: Any) -> Answer | None:
        """A runner's answer to a request of `export.benchmark.runner_process`; None if it does not run, or fails now,
        which ends it.
        """
        if name not in self.running:
            return None
        try:
            return self.running[name].ask(**request)
        except RunnerError as exc:
            self.stopped[name] = exc
            self.dismiss(name)
            return None

    def ask_each(self, **request: Any) -> dict[str, Answer]:
        """Ask all runners in turn; the answers of those that do not fail, by name."""
        return {name: answer for name in list(self.running) if (answer := self.ask(name, **request)) is not None}

    def dismiss(self, name: str) -> None:
        """End a runner's process, if there is one."""
        if process := self.running.pop(name, None):
            process.close()

    def time(self, batch: int, rounds: int, runs: int, warm_up: int) -> dict[str, list[float]]:
        """Time inferences. The runners take turns, and a first round does not count.

        Args:
            batch: images of an inference.
            rounds: turns of each runner.
            runs: timed inferences in a turn.
            warm_up: inferences before them, which are not timed.

        Returns:
            Milliseconds of each timed inference, by the name of the runner.
        """
        request = {"do": "time", "batch": batch, "runs": runs, "warm_up": warm_up}
        times: dict[str, list[float]] = {name: [] for name in self.running}
        for turn in tqdm(range(rounds + 1), desc=f"rounds at batch {batch}", leave=False):
            for name, answer in self.ask_each(**request).items():
                times[name] += answer["ms"] if turn else []
        return {name: times[name] for name in self.running}


def _start(runner: Runner, threads: int) -> ChildProcess:
    options = {"--size": runner.size, "--channels": runner.channels, "--threads": threads}
    arguments = [runner.runtime, str(runner.file.resolve()), *(str(text) for pair in options.items() for text in pair)]
    return ChildProcess("export.benchmark.runner_process", arguments, environment(threads))

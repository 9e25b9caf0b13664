"""The benchmark's side of a contestant: starts its process, asks, and listens to its last words."""

import contextlib
import dataclasses
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any, Self

from tqdm import tqdm

from export.errors import ContestantError, NotInstalled
from export.timing.process import ROOT, environment
from handler.contract import MODEL_FILE

Answer = dict[str, Any]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Contestant:
    """What is run, and what is known of it before it runs."""

    name: str
    runner: str
    """Of `export.timing.contestant`."""
    file: Path
    size: int = 64
    channels: int = 1
    macs: int | None = None
    """Per picture, if that could be counted."""
    threshold: float | None = None
    """From which probability on it calls a picture positive; None if it is not trained to."""

    @property
    def megabytes(self) -> float:
        return (self.file / MODEL_FILE if self.file.is_dir() else self.file).stat().st_size / 1e6


class Worker:
    """A contestant's process; `close` ends it."""

    def __init__(self, contestant: Contestant, threads: int) -> None:
        options = ["--size", str(contestant.size), "--channels", str(contestant.channels), "--threads", str(threads)]
        self._words: IO[str] = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115
        self._process = subprocess.Popen(  # noqa: S603 - this project's own module
            [
                sys.executable,
                "-m",
                "export.timing.contestant",
                contestant.runner,
                str(contestant.file.resolve()),
                *options,
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._words,
            text=True,
            cwd=ROOT,
            env=environment(threads),
        )

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()
        self._words.close()

    def ask(self, **request: Any) -> Answer:
        """Send a request of `export.timing.contestant` and wait for its answer.

        Raises:
            ContestantError: the process failed, now or before.
        """
        assert self._process.stdin
        assert self._process.stdout
        with contextlib.suppress(BrokenPipeError):  # then it has left its last words
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            status = self._process.wait()
            self._words.seek(0)
            last = next((text for text in reversed(self._words.read().splitlines()) if text.strip()), "")
            raise ContestantError(f"ended with status {status}: {last.strip()}")
        found: Answer = json.loads(line)
        if "missing" in found:
            raise NotInstalled(found["missing"])
        if "error" in found:
            raise ContestantError(found["error"])
        return found


class Field:
    """All contestants that are still in.

    Use as a context manager, which ends their processes.

    Attributes:
        running: the processes by name.
        stopped: why those that are out are out, by name.
    """

    def __init__(self, contestants: Iterable[Contestant], threads: int) -> None:
        self.running: dict[str, Worker] = {}
        self.stopped: dict[str, ContestantError] = {}
        for contestant in contestants:
            self.running[contestant.name] = Worker(contestant, threads)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self.running.values():
            worker.close()

    def ask(self, name: str, **request: Any) -> Answer | None:
        """What a contestant answers; None if it is out, or failed and is out from now on."""
        if name not in self.running:
            return None
        try:
            return self.running[name].ask(**request)
        except ContestantError as exc:
            self.stopped[name] = exc
            self.dismiss(name)
            return None

    def ask_each(self, **request: Any) -> dict[str, Answer]:
        """The answers by name of all that do not fail, asked in turn."""
        return {name: answer for name in list(self.running) if (answer := self.ask(name, **request)) is not None}

    def dismiss(self, name: str) -> None:
        """End a contestant's process, if it has not ended."""
        if worker := self.running.pop(name, None):
            worker.close()

    def time(self, batch: int, rounds: int, runs: int, untimed: int) -> dict[str, list[float]]:
        """Milliseconds of each inference by name, after a first round that does not count.

        Args:
            runs: timed inferences in a turn, which `untimed` ones go before.
        """
        request = {"do": "time", "batch": batch, "runs": runs, "untimed": untimed}
        times: dict[str, list[float]] = {name: [] for name in self.running}
        for turn in tqdm(range(rounds + 1), desc=f"rounds at batch {batch}", leave=False):
            for name, answer in self.ask_each(**request).items():
                times[name] += answer["ms"] if turn else []
        return {name: times[name] for name in self.running}

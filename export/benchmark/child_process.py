"""A process of the benchmark, seen from the process that starts it: requests, answers and errors."""

import contextlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from typing import IO, Any

from export.benchmark.environment import ROOT
from export.errors import NotInstalled, RunnerError

Answer = dict[str, Any]


class ChildProcess:
    """`python -m MODULE ARGUMENTS`, which reads requests from standard input and answers each with one line of JSON on
    standard output. `{"missing": MODULE}` and `{"error": TEXT}` are answers of a process that cannot go on.

    Args:
        module: one of `export.benchmark`.
        arguments: of its command line.
        environment: all of its environment variables.
    """

    def __init__(self, module: str, arguments: Sequence[str], environment: Mapping[str, str]) -> None:
        # A file, because a pipe that is not read blocks the process when it is full.
        self._log: IO[str] = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115
        self._process = subprocess.Popen(  # noqa: S603 - this project's own module
            [sys.executable, "-m", module, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            cwd=ROOT,
            env=environment,
            process_group=0,  # Ctrl-C reaches only the parent, which keeps what was measured
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    def ask(self, **request: Any) -> Answer:
        """Send a request and wait for its answer.

        Raises:
            RunnerError: the process failed, now or before.
        """
        assert self._process.stdin
        with contextlib.suppress(BrokenPipeError):  # it has ended; `receive` says why
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        return self.receive()

    def receive(self) -> Answer:
        """Wait for an answer.

        Raises:
            RunnerError: the process failed, now or before.
        """
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            raise self._error()
        answer: Answer = json.loads(line)
        if "missing" in answer:
            raise NotInstalled(answer["missing"])
        if "error" in answer:
            raise RunnerError(answer["error"])
        return answer

    def finish(self) -> None:
        """Close its standard input and wait until it has ended.

        Raises:
            RunnerError: it ended with an error.
        """
        assert self._process.stdin
        self._process.stdin.close()
        if self._process.wait():
            raise self._error()

    def close(self) -> None:
        """Kill the process if it has not ended."""
        self._process.kill()
        with contextlib.suppress(BrokenPipeError):  # a request that was never read
            self._process.__exit__(None, None, None)
        self._log.close()

    def _error(self) -> RunnerError:
        status = self._process.wait()
        self._log.seek(0)
        last = next((text for text in reversed(self._log.read().splitlines()) if text.strip()), "")
        return RunnerError(f"ended with status {status}: {last.strip()}")

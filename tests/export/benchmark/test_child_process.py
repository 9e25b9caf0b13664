"""Processes of runners, real ones."""

import os
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from export.benchmark.child_process import ChildProcess
from export.errors import NotInstalled, RunnerError

ECHO = """
import json, sys
for line in sys.stdin:
    request = json.loads(line)
    if "exit" in request:
        sys.exit(request["exit"])
    print(json.dumps(request), flush=True)
sys.exit("the input has ended" if "fail" in sys.argv else 0)
"""


Start = Callable[..., ChildProcess]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts the process, which answers a request with the request."""
    (tmp_path / "echo_requests.py").write_text(ECHO)
    started = []

    def start(*arguments: str) -> ChildProcess:
        process = ChildProcess("echo_requests", arguments, os.environ | {"PYTHONPATH": str(tmp_path)})
        started.append(process)
        return process

    yield start
    for process in started:
        process.close()


def test_requests_are_answered_until_the_process_finishes(start: Start) -> None:
    process = start()

    assert process.ask(a=1) == {"a": 1}
    assert process.ask(b=[2]) == {"b": [2]}
    process.finish()


def test_what_an_answer_says_becomes_an_error(start: Start) -> None:
    with pytest.raises(NotInstalled, match="not installed: pip install pillow"):
        start().ask(missing="PIL.Image")
    with pytest.raises(RunnerError, match=r"^KeyError: 1$"):
        start().ask(error="KeyError: 1")


def test_the_last_line_of_a_process_that_ends_is_the_reason(start: Start) -> None:
    process = start()
    for _ in range(2):  # the second request finds no process
        with pytest.raises(RunnerError, match=r"^ended with status 1: no weights$"):
            process.ask(exit="no weights")
    with pytest.raises(RunnerError, match=r"^ended with status 1: the input has ended$"):
        start("fail").finish()


def test_closing_ends_a_process_with_unread_requests(start: Start) -> None:
    with closing(start()) as process:
        process.ask(a=1)

    with pytest.raises(ProcessLookupError):
        os.kill(process.pid, 0)

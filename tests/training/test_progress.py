"""Progress in a log file: few lines with the completed share and the remaining time."""

import contextlib
import logging
import os
import re
import subprocess
import sys

import pytest

from training.progress import duration, progress


class Clock:
    """A clock that advances by `step` seconds at each call."""

    def __init__(self, step: float) -> None:
        self.step, self.now = step, 0.0

    def __call__(self) -> float:
        self.now += self.step
        return self.now


def test_a_log_gets_a_line_at_most_every_half_minute(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    assert list(progress(range(100), "counting", unit="number", clock=Clock(10))) == list(range(100))

    assert len(caplog.messages) == 33, "1000 seconds"
    assert caplog.messages[0] == "counting: 3 %, 0.1 numbers/s, 16:10 left"


def test_short_work_logs_nothing(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    list(progress(range(5), "counting", clock=Clock(1)))
    assert not caplog.messages


def test_items_can_stand_for_several_units_and_carry_a_note(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    batches = iter([range(32), range(32), range(8)])
    list(progress(batches, "epoch 1", total=72, each=len, note=lambda: "loss 0.5", clock=Clock(31)))
    assert caplog.messages[0] == "epoch 1: 44 %, 1.0 images/s, 0:39 left, loss 0.5"
    assert caplog.messages[-1] == "epoch 1: 100 %, 0.8 images/s, 0:00 left, loss 0.5"


def test_work_of_unknown_length_logs_the_finished_units(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    list(progress(iter("abc"), "reading", unit="file", clock=Clock(60)))
    assert caplog.messages[0] == "reading: 1 file, 60 s for each file"
    assert caplog.messages[-1] == "reading: 3 files, 60 s for each file"


def on_terminal(code: str, *, interrupt_at: str = "") -> str:
    """What a terminal shows of a program, with the characters that move the cursor.

    Args:
        interrupt_at: Ctrl-C is typed once this is shown.
    """
    import fcntl
    import pty
    import termios

    terminal, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    program = subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # so that Ctrl-C reaches it
    )
    os.close(theirs)
    shown = b""
    with contextlib.suppress(OSError):  # how Linux says that the program has ended
        while piece := os.read(terminal, 100_000):
            shown += piece
            if interrupt_at and interrupt_at.encode() in shown:
                os.write(terminal, b"\x03")
                interrupt_at = ""
    os.close(terminal)
    program.wait(60)
    return shown.decode()


def lines_left(shown: str) -> list[str]:
    """The lines that can be read at the end. A bar begins with a carriage return, and an error erases it."""
    return [re.split(r"\r|\x1b\[K", line)[-1] for line in shown.replace("\r\n", "\n").split("\n")]


@pytest.mark.skipif(sys.platform == "win32", reason="a pseudo-terminal is needed")
def test_a_terminal_shows_a_bar_with_the_time_left() -> None:
    shown = on_terminal(
        "from training.progress import progress; print(sum(progress(range(4), 'counting', unit='number')))"
    )
    assert "counting" in shown
    assert "%|" in shown
    assert lines_left(shown) == ["6", ""]


STOPPED = """
import logging, os, signal, sys
from handler.commands import run
from handler.errors import HandlerError
from training.progress import progress

def command():
    logging.basicConfig(format="%(message)s", level=logging.INFO)
    numbers = progress(range(100), "counting")  # lives as long as the traceback of an error
    for number in numbers:
        if number == 50:
            logging.info("half")
            how()

def fail():
    raise HandlerError("it fails: do it otherwise")

def interrupt():
    os.kill(os.getpid(), signal.SIGINT)

how = {how}
sys.exit(run(command))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="a pseudo-terminal is needed")
@pytest.mark.parametrize(
    ("how", "line"),
    [("fail", "error: it fails: do it otherwise"), ("interrupt", "interrupted: start it again")],
)
def test_a_bar_shares_its_line_with_nothing_else(how: str, line: str) -> None:
    shown = on_terminal(STOPPED.replace("{how}", how))
    assert "counting" in shown
    assert [text for text in lines_left(shown) if text.strip()] == ["half", line]


@pytest.mark.skipif(sys.platform == "win32", reason="a pseudo-terminal is needed")
def test_ctrl_c_while_processes_start_is_one_line() -> None:
    code = """
import sys
from handler.commands import run
from training.processes import map_in_processes

if __name__ == "__main__":
    sys.exit(run(lambda: [*map_in_processes(abs, range(2000), 2, "counting")] and 0))
"""
    shown = on_terminal(code, interrupt_at="%|")
    assert [text for text in lines_left(shown.replace("^C", "")) if text.strip()] == ["interrupted: start it again"]


@pytest.mark.parametrize(("seconds", "text"), [(5, "0:05"), (754, "12:34"), (3723, "1:02:03")])
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text

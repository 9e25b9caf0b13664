"""Progress in a log file: few lines with the completed share and the remaining time."""

import logging
import os
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


@pytest.mark.skipif(sys.platform == "win32", reason="a pseudo-terminal is needed")
def test_a_terminal_shows_a_bar_with_the_time_left() -> None:
    import pty
    import termios

    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    code = "from training.progress import progress; print(sum(progress(range(4), 'counting', unit='number')))"
    done = subprocess.run([sys.executable, "-c", code], stderr=theirs, stdout=subprocess.PIPE, text=True, check=True)
    shown = os.read(ours, 100_000).decode()
    os.close(theirs)
    os.close(ours)
    assert done.stdout == "6\n"
    assert "counting" in shown
    assert "%|" in shown


@pytest.mark.parametrize(("seconds", "text"), [(5, "0:05"), (754, "12:34"), (3723, "1:02:03")])
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text

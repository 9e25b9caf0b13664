"""CPU time and memory of a tree of real processes."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from export.benchmark.usage import Usage, tree_usage
from export.errors import RunnerError

BURN = "while time.process_time() < {seconds}: pass"

TREE = f"""
import os, sys, time
if os.fork() == 0:  # ends and is waited for
    {BURN.format(seconds=0.2)}
    os._exit(0)
os.wait()
ready, done = os.pipe()
if os.fork() == 0:  # lives as long as its parent
    block = bytes(range(256)) * (40 << 12)
    {BURN.format(seconds=0.3)}
    os.write(done, b"x")
    sys.stdin.read()
    os._exit(0)
os.read(ready, 1)
print("ready", flush=True)
sys.stdin.read()
"""


@contextmanager
def process(code: str) -> Iterator[int]:
    """The id of a process that has printed a line and waits."""
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as running:
        assert running.stdout
        assert running.stdout.readline() == b"ready\n"
        yield running.pid


def usage(code: str) -> Usage:
    with process(code) as pid:
        return tree_usage(pid)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not report ended children")
def test_children_count_whether_they_run_or_have_ended() -> None:
    found = usage(TREE)

    assert found.processes == 2
    # The 0.2 s of the ended child are counted in ticks of 10 ms, user and system time apart.
    assert 480 <= found.children_cpu_ms < found.cpu_ms
    assert 41 < found.children_uss_mb < 60, "a block of 40 MiB, and not what it shares with its parent"
    assert found.tree_pss_mb is not None
    assert found.tree_pss_mb > 41


def test_a_process_without_children() -> None:
    found = usage("import sys; print('ready', flush=True); sys.stdin.read()")

    assert found.processes == 1
    assert found.cpu_ms > 0
    assert found.children_cpu_ms == 0
    assert found.children_uss_mb == 0
    assert 2 < found.resident_mb < 100


def test_a_process_that_has_ended_is_an_error_of_the_runner() -> None:
    with process("print('ready')") as pid:
        pass

    with pytest.raises(RunnerError, match="cannot be inspected"):
        tree_usage(pid)

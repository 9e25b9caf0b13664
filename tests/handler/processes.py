"""Data of the system about processes: their children, CPU time and memory. Linux only."""

import os
from collections.abc import Callable
from pathlib import Path
from time import monotonic, sleep

_TICKS = os.sysconf("SC_CLK_TCK")


def descendants(pid: int) -> list[int]:
    """Process ids of the living children of a process, their children and so on. Zombies do not count."""
    found: list[int] = []
    for listed in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = [int(word) for word in listed.read_text().split()]
        except OSError:
            continue
        for child in children:
            if is_alive(child):
                found.append(child)
            found += descendants(child)
    return found


def is_alive(pid: int) -> bool:
    """Return whether a process exists and is not a zombie."""
    fields = _stat(pid)
    return bool(fields) and fields[0] not in "ZX"


def cpu_s(pid: int, *, with_ended_children: bool = True) -> float:
    """CPU seconds of a process, and of its children that have ended; 0 if there is no such process."""
    fields = _stat(pid)
    return sum(map(int, fields[11 : 15 if with_ended_children else 13])) / _TICKS


def memory_mb(pid: int, field: str = "VmRSS") -> float:
    """A line of /proc/PID/status in MB: `VmRSS` for the resident memory, `VmHWM` for the most there has been."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    return float((status.partition(f"{field}:")[2].split() or ["0"])[0]) / 1024


def wait_until(condition: Callable[[], bool], seconds: float = 20) -> bool:
    """Check a condition repeatedly, and return whether it becomes true in time."""
    end = monotonic() + seconds
    while not condition():
        if monotonic() > end:
            return False
        sleep(0.01)
    return True


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the state on."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []

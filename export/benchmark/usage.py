"""CPU time and memory of a process and all its descendants, measured from outside."""

import ctypes
import dataclasses
import time

import psutil

from export.errors import RunnerError


@dataclasses.dataclass(frozen=True, slots=True)
class Usage:
    """What a process tree has used. Memory is in MB (10^6 bytes), CPU time in milliseconds of user and system time."""

    processes: int
    """How many are running, the first one included."""
    cpu_ms: float
    """Of the whole tree since its start, ended descendants included once their parents have waited for them."""
    children_cpu_ms: float
    """Of that, what was not spent by the first process."""
    resident_mb: float
    """RSS of the first process alone."""
    tree_pss_mb: float | None
    """PSS of the whole tree: memory that several processes share is divided among them. Other programs that have
    mapped the same libraries take their part of it too. None where the system has no PSS."""
    children_uss_mb: float
    """USS of the descendants: what would be free if they ended."""


def tree_usage(pid: int) -> Usage:
    """Measure a process and its descendants, which should be idle meanwhile.

    Raises:
        RunnerError: one of them has ended or may not be inspected.
    """
    try:
        main = psutil.Process(pid)
        children = main.children(recursive=True)
        own, reaped = _cpu_ms(main)
        cpu = own + reaped + sum(sum(_cpu_ms(child)) for child in children)
        memory = [process.memory_full_info() for process in (main, *children)]
    except psutil.Error as exc:
        raise RunnerError(f"its processes cannot be inspected: {exc}") from exc
    return Usage(
        processes=1 + len(children),
        cpu_ms=cpu,
        children_cpu_ms=cpu - own,
        resident_mb=memory[0].rss / 1e6,
        tree_pss_mb=sum(one.pss for one in memory) / 1e6 if hasattr(memory[0], "pss") else None,
        children_uss_mb=sum(one.uss for one in memory[1:]) / 1e6,
    )


def _cpu_ms(process: psutil.Process) -> tuple[float, float]:
    """CPU time of the process itself, and of the children that it has waited for."""
    times = process.cpu_times()
    own: float = times.user + times.system
    clock = ctypes.c_int()
    # psutil counts in ticks of 10 ms, which is more than decoding an image takes.
    get_clock = getattr(ctypes.CDLL(None), "clock_getcpuclockid", None)
    if get_clock and get_clock(process.pid, ctypes.byref(clock)) == 0:
        own = time.clock_gettime(clock.value)
    # macOS does not report the time of ended children.
    return own * 1e3, (times.children_user + times.children_system) * 1e3

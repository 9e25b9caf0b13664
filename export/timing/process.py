"""What the benchmark's processes have in common: their environment, the cores they are held to, what they are sent, the
memory they took.
"""

import base64
import contextlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
"""Where `python -m export.…` finds its packages."""

PICTURE = ROOT / "handler" / "page" / "phantom.png"

_EVENT = Path(__file__).with_name("rest_event.json")
_STATUS = Path("/proc/self/status")


def environment(threads: int) -> dict[str, str]:
    """This process's environment for a child that computes on `threads` threads of the CPU and phones nobody."""
    changed = {
        "OMP_NUM_THREADS": str(threads),
        "CUDA_VISIBLE_DEVICES": "-1",
        "KERAS_BACKEND": "tensorflow",
        "TF_CPP_MIN_LOG_LEVEL": "2",
        "ORT_DISABLE_TELEMETRY": "1",
    }
    # Serving images are byte-compiled, so nobody may be charged for compiling anew.
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return inherited | changed


def pin(threads: int) -> None:
    """Hold this process to as many cores as it may have threads, where the system can."""
    if hasattr(os, "sched_setaffinity"):
        # The last ones: the first core serves most interrupts.
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-threads:])


@contextlib.contextmanager
def pinned(threads: int) -> Iterator[None]:
    """Children that are started meanwhile are held to as many cores as `pin` grants."""
    before = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
    pin(threads)
    try:
        yield
    finally:
        if before is not None:
            os.sched_setaffinity(0, before)


def write_event(folder: Path) -> Path:
    """A request of API Gateway with `PICTURE` in its body, as a file."""
    event = json.loads(_EVENT.read_text(encoding="utf-8"))
    event["body"] = base64.b64encode(PICTURE.read_bytes()).decode()
    path = folder / "event.json"
    path.write_text(json.dumps(event), encoding="utf-8")
    return path


def memory() -> dict[str, float]:
    """Memory of this process in MB: `resident_mb` now, `peak_mb` at most so far.

    On Linux from /proc, because `ru_maxrss` of a child begins with what its parent had. Elsewhere both are the peak.
    """
    if _STATUS.is_file():
        lines = dict(line.split(":", 1) for line in _STATUS.read_text().splitlines())
        resident, peak = (int(lines[name].split()[0]) * 1024 / 1e6 for name in ("VmRSS", "VmHWM"))
    else:
        import resource

        unit = 1 if sys.platform == "darwin" else 1024
        resident = peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6
    return {"resident_mb": resident, "peak_mb": peak}

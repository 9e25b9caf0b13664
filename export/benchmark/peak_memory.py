"""The peak memory of this process. This module imports nothing large, because what it imports would count."""

import sys
from pathlib import Path

_STATUS = Path("/proc/self/status")


def peak_mb() -> float:
    """The most resident memory that this process has had so far, in MB (10^6 bytes).

    psutil does not report it on Linux, and `ru_maxrss` of a child process starts there with the value of its parent.
    """
    if _STATUS.is_file():
        return int(_STATUS.read_text().partition("VmHWM:")[2].split()[0]) * 1024 / 1e6
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6

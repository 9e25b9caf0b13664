"""The environment of the benchmark's processes: their variables, and the CPU cores that they may use."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[2]
"""The folder in which `python -m export...` finds its packages."""


_DROPPED = ("PYTHONDONTWRITEBYTECODE", "MODEL_REPO", "MODEL_REVISION")


def environment(threads: int) -> dict[str, str]:
    """This process's environment for a child process that computes on the CPU with `threads` threads and sends no
    telemetry.
    """
    changed = {
        "OMP_NUM_THREADS": str(threads),
        "CUDA_VISIBLE_DEVICES": "-1",
        "KERAS_BACKEND": "tensorflow",
        "TF_CPP_MIN_LOG_LEVEL": "2",
        "ORT_DISABLE_TELEMETRY": "1",
    }
    # The time that compiling takes must not count, and MODEL_REPO would replace the bundle that is measured.
    inherited = {name: value for name, value in os.environ.items() if name not in _DROPPED}
    return inherited | changed


@contextlib.contextmanager
def pinned(threads: int) -> Iterator[None]:
    """Restrict this thread, and the processes that it starts meanwhile, to as many CPU cores as there are threads.

    Does nothing where the system has no CPU affinity (macOS).
    """
    process = psutil.Process()
    if not hasattr(process, "cpu_affinity"):
        yield
        return
    before = process.cpu_affinity()
    # The last ones: the first core serves most interrupts.
    process.cpu_affinity(sorted(before)[-threads:])
    try:
        yield
    finally:
        process.cpu_affinity(before)

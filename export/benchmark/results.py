"""What the results of all benchmarks have in common."""

import datetime
from collections.abc import Mapping
from typing import Any

from export.benchmark.machine import describe
from export.errors import NotInstalled, RunnerError


def heading(threads: int, rounds: int) -> dict[str, Any]:
    """The first fields of a result: `date` (UTC, ISO 8601), `machine`, `threads` and `rounds`."""
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": describe(),
        "threads": threads,
        "rounds": rounds,
    }


def stopped_rows(stopped: Mapping[str, RunnerError]) -> list[dict[str, str]]:
    """The rows of runners that did not run: `name`, `status` (missing or failed) and `reason`."""
    return [
        {
            "name": name,
            "status": "missing" if isinstance(error, NotInstalled) else "failed",
            "reason": str(error),
        }
        for name, error in stopped.items()
    ]

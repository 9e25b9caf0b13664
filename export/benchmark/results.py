"""What the results of all benchmarks have in common."""

import datetime
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from export.benchmark.machine import describe
from export.errors import NotInstalled, RunnerError
from handler.files import write_atomically

_NUMBERS = re.compile(r"\[[\d,\s]+\]")


def heading(threads: int) -> dict[str, Any]:
    """The first fields of a result: `date` (UTC, ISO 8601), `machine` and `threads`."""
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": describe(),
        "threads": threads,
    }


def write_result(path: Path, result: Mapping[str, Any]) -> None:
    """Write a result as JSON, atomically: indented, but with the samples of a turn on one line."""
    text = _NUMBERS.sub(lambda found: " ".join(found[0].split()), json.dumps(result, indent=1, ensure_ascii=False))
    write_atomically(path, lambda temporary: temporary.write_text(text + "\n", encoding="utf-8"))


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

"""The rules of the latency benchmark. export/README.md states them before the results.

One query at a time (single stream): a runner gets its next query when it has answered the one before. The runners take
turns, so that changes of the clock rate and other programs affect all alike.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from export.benchmark.samples import Samples

QUERIES = 1024
"""Of each runner, at least: p99 needs 1,000, see `export.benchmark.samples.BEYOND`."""

SECONDS = 10.0
"""Of each runner, at least, summed over its queries: 1,024 queries of a fast runner take less than a second."""

TURNS = 64
"""Enough for the bootstrap, see `export.benchmark.samples.MIN_TURNS`."""

WARM_UP = 1
"""Queries at the start of a turn that are not timed: the CPU's caches still hold what the runner before left there."""

END_TO_END_SHARE = 4
"""One query in so many is asked once more from the bytes of an image on, which is enough for p50 and p90."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What a run asks of each runner. Less than the constants of this module is for trials."""

    queries: int = QUERIES
    seconds: float = SECONDS
    batch: int = 1
    """Images in a query."""

    @property
    def turns(self) -> int:
        return min(TURNS, self.queries)

    @property
    def queries_per_turn(self) -> int:
        return math.ceil(self.queries / self.turns)

    @property
    def seconds_per_turn(self) -> float:
        return self.seconds / self.turns

    @property
    def end_to_end_per_turn(self) -> int:
        return math.ceil(self.queries_per_turn / END_TO_END_SHARE)

    def report(self, samples: Iterable[Samples], turns: int) -> dict[str, Any]:
        """The rules of a run, and whether its results meet those of this module.

        Args:
            samples: of each runner.
            turns: that were completed; fewer than asked for after an interrupt.

        Returns:
            `scenario`, `batch`, `queries` and `seconds` of each runner, `turns` that were completed, `warm_up`,
            `interrupted`, `met`, and `broken`: texts that say which rules are not met.
        """
        measured = list(samples)
        queries = min((one.n for one in measured), default=0)
        seconds = min((one.seconds for one in measured), default=0.0)
        broken = []
        if self.batch != 1:
            broken.append(f"batch {self.batch} instead of 1")
        if turns < self.turns:
            broken.append(f"interrupted after {turns} of {self.turns} turns")
        if queries < QUERIES:
            broken.append(f"{queries} queries instead of {QUERIES}")
        if round(seconds, 3) < SECONDS:
            broken.append(f"{seconds:.1f} s instead of {SECONDS:.0f}")
        return {
            "scenario": "single stream",
            "batch": self.batch,
            "queries": self.queries,
            "seconds": self.seconds,
            "turns": turns,
            "warm_up": WARM_UP,
            "interrupted": turns < self.turns,
            "met": not broken,
            "broken": broken,
        }

"""What a size of function takes and costs, and which one to choose: arithmetic alone, no clock."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from infra.cost import LAMBDA_GB_SECOND, LAMBDA_MILLION_REQUESTS, lambda_time_dollars
from infra.instance import vcpus

WITHIN = 1.25
"""Slower than the fastest size by a quarter is a few milliseconds, which nobody sees; beyond, money buys something."""


@dataclass(frozen=True, slots=True)
class Percentiles:
    """In the unit of what they are of."""

    p50: float
    p95: float
    p99: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """Measured figures of one memory size; milliseconds, but for those that say seconds."""

    memory_mb: int
    vcpus: float
    """Granted by Lambda."""

    measured_vcpus: float
    """Granted here; fewer where the machine has no more."""

    cold_starts: int
    cold_s_p50: float
    """Start of the container's process to the first answered prediction."""

    cold_s_max: float
    init_s_p50: float
    """The part of it that is the function's initialization."""

    predictions: int
    """Warm ones."""

    duration_ms: Percentiles
    """Of a warm prediction in the function: what Lambda bills, before rounding."""

    round_trip_ms: Percentiles
    """The same as the client of the emulator sees it."""

    billed_ms: float
    """Mean over the warm predictions, each rounded up to 1 ms: a bill is a sum."""

    dollars_per_million: dict[str, float]
    """Warm predictions, by architecture: time and requests of Lambda. The times are this machine's for both."""

    @property
    def whole(self) -> bool:
        """Whether it was measured with all the CPU that Lambda would grant."""
        return self.measured_vcpus >= self.vcpus


def size(
    memory: int,
    cores: int,
    *,
    cold_s: Sequence[float],
    init_ms: Sequence[float],
    duration_ms: Sequence[float],
    billed_ms: Sequence[int],
    round_trip_ms: Sequence[float],
) -> Size:
    """Sum up measurements.

    Args:
        memory: MB.
        cores: of the engine.
        cold_s: one for each cold start, like `init_ms`.
        duration_ms: one for each warm prediction, like `billed_ms` and `round_trip_ms`.

    Raises:
        ValueError: there are none.
    """
    if not len(cold_s) == len(init_ms) > 0 or not len(duration_ms) == len(billed_ms) == len(round_trip_ms) > 0:
        raise ValueError("measure at least one cold start and one warm prediction")
    billed = float(np.mean(billed_ms))
    return Size(
        memory_mb=memory,
        vcpus=vcpus(memory),
        measured_vcpus=min(vcpus(memory), cores),
        cold_starts=len(cold_s),
        cold_s_p50=float(np.median(cold_s)),
        cold_s_max=max(cold_s),
        init_s_p50=float(np.median(init_ms)) / 1000,
        predictions=len(duration_ms),
        duration_ms=percentiles(duration_ms),
        round_trip_ms=percentiles(round_trip_ms),
        billed_ms=billed,
        dollars_per_million={each: dollars_per_million(billed, memory, each) for each in LAMBDA_GB_SECOND},
    )


def percentiles(values: Sequence[float]) -> Percentiles:
    """Interpolated between the nearest two; of at least one value."""
    p50, p95, p99 = np.percentile(values, (50, 95, 99)).tolist()
    return Percentiles(p50, p95, p99)


def dollars_per_million(billed_ms: float, memory: int, architecture: str) -> float:
    """Lambda's price of a million predictions that each are billed so many milliseconds; without API Gateway's."""
    return lambda_time_dollars(1e6 * billed_ms / 1000, memory, architecture) + LAMBDA_MILLION_REQUESTS


def recommended(sizes: Sequence[Size], architecture: str, within: float = WITHIN) -> Size:
    """The cheapest size whose warm p95 is at most `within` times the best one; of equally cheap ones the smallest.

    Sizes that were not measured with all their CPU do not compete: both their figures would be better on Lambda.

    Raises:
        ValueError: none was.
    """
    whole = [size for size in sizes if size.whole]
    if not whole:
        raise ValueError("this machine has too few cores for any of these sizes: name smaller ones with --sizes")
    limit = within * min(size.duration_ms.p95 for size in whole)
    fast = [size for size in whole if size.duration_ms.p95 <= limit]
    return min(fast, key=lambda size: (size.dollars_per_million[architecture], size.memory_mb))

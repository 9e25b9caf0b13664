"""Compute time and cost of memory sizes from measurements, and recommend a size. Nothing is measured here."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from infra.cost import LAMBDA_GB_SECOND, LAMBDA_MILLION_REQUESTS, lambda_time_dollars
from infra.instance import vcpus

WITHIN = 1.25
"""Maximum ratio of a size's p95 to the best p95. A quarter is only a few milliseconds, which users do not notice."""


@dataclass(frozen=True, slots=True)
class Percentiles:
    """Percentiles, in the unit of the values."""

    p50: float
    p95: float
    p99: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """Measured values of one memory size. `_ms` are milliseconds, `_s` are seconds."""

    memory_mb: int
    vcpus: float
    """Number that Lambda grants."""

    measured_vcpus: float
    """Number in this measurement, which the cores of the machine limit."""

    cold_starts: int
    cold_s_p50: float
    """From the start of the container's process to the first prediction."""

    cold_s_max: float
    init_s_p50: float
    """The initialization of the function, as a part of the cold start."""

    predictions: int
    """Number of warm predictions."""

    duration_ms: Percentiles
    """Duration of a warm prediction in the function, which Lambda bills after rounding."""

    round_trip_ms: Percentiles
    """Duration of a warm prediction for the client of the emulator."""

    billed_ms: float
    """Mean over the warm predictions, each rounded up to 1 ms. It is the mean, because a bill is a sum."""

    dollars_per_million: dict[str, float]
    """Price of a million warm predictions by architecture: time and requests of Lambda. Both have the measured time."""

    @property
    def whole(self) -> bool:
        """Whether the size was measured with all the CPU that Lambda grants."""
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
    """Summarize measurements.

    Args:
        memory: memory size in MB.
        cores: number of cores of the engine.
        cold_s: seconds of each cold start; `init_ms` has milliseconds of its initialization.
        duration_ms: one value for each warm prediction; so have `billed_ms` and `round_trip_ms`.

    Raises:
        ValueError: there are no measurements.
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
    """Compute percentiles of at least one value, interpolated between the nearest two values."""
    p50, p95, p99 = np.percentile(values, (50, 95, 99)).tolist()
    return Percentiles(p50, p95, p99)


def dollars_per_million(billed_ms: float, memory: int, architecture: str) -> float:
    """Return Lambda's price of a million predictions with `billed_ms` each, without that of API Gateway."""
    return lambda_time_dollars(1e6 * billed_ms / 1000, memory, architecture) + LAMBDA_MILLION_REQUESTS


def recommended(sizes: Sequence[Size], architecture: str, within: float = WITHIN) -> Size:
    """Return the cheapest size whose warm p95 is at most `within` times the best p95, the smallest of equal ones.

    Sizes that were measured with less CPU than on Lambda are left out, because they would be faster on Lambda.

    Raises:
        ValueError: no size was measured with all its CPU.
    """
    whole = [size for size in sizes if size.whole]
    if not whole:
        raise ValueError("this machine has too few cores for each of these sizes: give smaller ones with --sizes")
    limit = within * min(size.duration_ms.p95 for size in whole)
    fast = [size for size in whole if size.duration_ms.p95 <= limit]
    return min(fast, key=lambda size: (size.dollars_per_million[architecture], size.memory_mb))

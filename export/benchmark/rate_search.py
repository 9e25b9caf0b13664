"""The search for the highest rate that holds."""

import math
from dataclasses import dataclass, field

RISE = 1.5
"""Ratio of a rate to the one before, until the limit is between two of them."""

BISECTIONS = 4
"""The range is then 1.5 ** (1 / 16): the limit is known to 2.6 %."""

MAX_FALLS = 4
"""If the first rate does not hold, this many lower ones are tried."""

_EXPECTED_RISES = 3


@dataclass
class RateSearch:
    """Rates in queries per second, to be tried one after the other.

    They rise from the first one until one does not hold, or fall until one holds. Then the range between the two is
    bisected.
    """

    rate: float | None
    """The next one to try; None at the end."""
    held: float | None = field(default=None, init=False)
    """The highest one that held."""
    broken: float | None = field(default=None, init=False)
    """The lowest one that did not hold."""
    _tried: int = field(default=0, init=False)
    _bisections: int = field(default=0, init=False)

    @property
    def left(self) -> int:
        """About how many rates are still to be tried."""
        if self.rate is None:
            return 0
        if self._bisections:
            return BISECTIONS - self._bisections + 1
        return max(1, _EXPECTED_RISES - self._tried) + BISECTIONS

    def tell(self, *, holds: bool) -> None:
        """Say whether `rate` holds, and go on to the next."""
        assert self.rate is not None
        self._tried += 1
        if holds:
            self.held = self.rate
        else:
            self.broken = self.rate
        self.rate = self._next()

    def _next(self) -> float | None:
        if self.broken is None:
            assert self.held is not None
            return _rounded(self.held * RISE)
        if self.held is None:
            return _rounded(self.broken / RISE) if self._tried <= MAX_FALLS else None
        if self._bisections == BISECTIONS:
            return None
        self._bisections += 1
        return _rounded(math.sqrt(self.held * self.broken))


def _rounded(rate: float) -> float:
    return float(f"{rate:.3g}")

"""Search for files that cost the most CPU time and memory to decode, within the limits of the decoding process.

    python -m tests.handler.cost_search --minutes 30 --seed 1 [--format tiff] [--keep FOLDER]

A recipe for each format asks for numbers and choices and builds a file of them. The answers are the file's genes. The
search keeps the genes of the costliest files, changes some of them, and tries again. It works with limits that are
lower than those of the service, so that one trial takes little time, and measures the worst files again with the limits
of the service. A file with a higher cost than `Cost.excess` allows is a failure.
"""

import argparse
import os
import random
import sys
import threading
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import NamedTuple, Self

from handler.errors import HandlerError, TemporaryError
from handler.imaging import isolation
from handler.imaging.limits import Limits
from handler.settings import Settings
from tests.handler.cost_recipes import BODY_LIMIT, RECIPES, Genes
from tests.handler.fuzz import mutated
from tests.handler.processes import cpu_s, descendants, memory_mb

SIZE = 224
SEARCH_LIMITS = Limits(cpu_s=1, wall_s=10, memory_mb=256)
MAX_MESSAGE = 2000
"""Maximum number of characters of an error message, because the message is in the answer."""


class Cost(NamedTuple):
    """The cost of decoding one file."""

    cpu_s: float
    """CPU time of all processes, this one included."""
    own_cpu_s: float
    """CPU time of this process alone, during which the service is blocked."""
    mb: float
    """Peak resident memory of a worker, above that of an idle one."""
    seconds: float
    outcome: str
    message: int = 0
    """Length of the error's message."""

    def excess(self, limits: Limits) -> list[str]:
        """The costs that exceed their limits. The limits allow for the delay of the system."""
        found = []
        if self.cpu_s > limits.cpu_s + 1:
            found.append(f"{self.cpu_s:.1f} s of CPU time")
        if self.own_cpu_s > 1:
            found.append(f"{self.own_cpu_s:.1f} s of CPU time in the service's own process")
        if self.mb > limits.memory_mb + 44:
            found.append(f"{self.mb:.0f} MB")
        if self.seconds > limits.wall_s + 2:
            found.append(f"{self.seconds:.1f} s")
        if self.message > MAX_MESSAGE:
            found.append(f"a message of {self.message:,} characters")
        if self.outcome == "crash" or self.outcome.startswith("bug"):
            found.append(self.outcome)
        return found

    def score(self) -> float:
        return max(self.cpu_s / 5, self.own_cpu_s, self.mb / 300)


class Meter:
    """Measures the cost of files, which one decoder decodes one after the other."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        # No file counts as slow, because at the lowest priority the cost would depend on other programs.
        self._slow_after_s, isolation.SLOW_AFTER_S = isolation.SLOW_AFTER_S, limits.wall_s
        before = set(descendants(os.getpid()))
        self._decoder = isolation.Decoder(limits)
        self._parent, worker = sorted(set(descendants(os.getpid())) - before)[:2]
        self._idle_mb = memory_mb(worker)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        isolation.SLOW_AFTER_S = self._slow_after_s
        self._decoder.close()

    def cost(self, data: bytes) -> Cost:
        before, own_before, start = self._total(), cpu_s(os.getpid(), with_ended_children=False), monotonic()
        ended, peaks = threading.Event(), [0.0]

        def watch() -> None:
            while not ended.wait(0.03):
                peaks.extend(memory_mb(pid, "VmHWM") for pid in descendants(self._parent))

        watcher = threading.Thread(target=watch)
        watcher.start()
        outcome, message = "pixels", 0
        try:
            self._decoder.decode(data, SIZE)
        except HandlerError as exc:
            outcome, message = type(exc).__name__, len(str(exc))
            if isinstance(exc, TemporaryError):
                outcome = f"bug: {outcome}"
        except Exception as exc:
            outcome = f"bug: {exc!r}"
        seconds = monotonic() - start
        ended.set()
        watcher.join()
        own = cpu_s(os.getpid(), with_ended_children=False) - own_before
        return Cost(self._total() - before + own, own, max(0.0, max(peaks) - self._idle_mb), seconds, outcome, message)

    def _total(self) -> float:
        workers = sum(cpu_s(pid) for pid in descendants(self._parent))
        return workers + cpu_s(self._parent)


@dataclass
class Found:
    """A file of the search and its cost."""

    genes: Genes
    data: bytes
    cost: Cost


@dataclass
class Report:
    """The costliest files of each format."""

    trials: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    best: dict[str, list[Found]] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)


def build(form: str, genes: Genes, dice: random.Random) -> bytes:
    """Build a file from genes, sometimes with a few bytes changed."""
    data = RECIPES[form](genes)[:BODY_LIMIT]
    if len(data) < 200_000 and genes.one_of("damaged", (False, False, False, True)):
        data = mutated(dice, data)
    return data


def search(meter: Meter, formats: list[str], *, seconds: float, seed: int, kept: int = 6) -> Report:
    """Alternate between the formats until the time is over."""
    dice, report, end = random.Random(seed), Report(), monotonic() + seconds
    report.best = {form: [] for form in formats}
    while True:
        for form in formats:
            if monotonic() > end:
                return report
            best = report.best[form]
            fresh = len(best) < kept or dice.random() < 0.3
            genes = Genes(dice) if fresh else dice.choice(best).genes.changed(dice.choice(best).genes)
            data = build(form, genes, dice)
            cost = meter.cost(data)
            report.trials[form] += 1
            report.outcomes[cost.outcome] += 1
            if excess := cost.excess(meter.limits):
                report.failures.append(
                    f"{form}, trial {report.trials[form]}: {', '.join(excess)}; {cost}; {genes.known}"
                )
            best.append(Found(genes, data, cost))
            best.sort(key=lambda found: -found.cost.score())
            del best[kept:]


def _print_worst(meter: Meter, report: Report, folder: Path | None) -> None:
    """Measure the costliest files again, print a table, and keep the files."""
    print(f"{'format':<9} {'trials':>6} {'bytes':>10} {'CPU s':>6} {'own':>5} {'MB':>5} {'s':>5}  outcome")
    for form, best in report.best.items():
        for number, found in enumerate(best[:3]):
            cost = meter.cost(found.data)
            print(
                f"{form:<9} {report.trials[form]:>6} {len(found.data):>10,} {cost.cpu_s:>6.2f} {cost.own_cpu_s:>5.2f} "
                f"{cost.mb:>5.0f} {cost.seconds:>5.2f}  {cost.outcome}"
            )
            print(f"          {found.genes.known}")
            excess = cost.excess(meter.limits)
            report.failures += [f"{form} with the limits of the service: {what}" for what in excess]
            if folder:
                folder.mkdir(parents=True, exist_ok=True)
                (folder / f"{form}{number}").write_bytes(found.data)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--format", choices=RECIPES, action="append")
    parser.add_argument("--keep", type=Path, help="folder for the worst files")
    options = parser.parse_args()
    formats = options.format or list(RECIPES)
    with Meter(SEARCH_LIMITS) as meter:
        report = search(meter, formats, seconds=options.minutes * 60, seed=options.seed)
    print(f"{sum(report.trials.values()):,} trials; {dict(report.outcomes)}")
    with Meter(Settings().decode_limits) as meter:
        _print_worst(meter, report, options.keep)
    print(*report.failures, sep="\n")
    return int(bool(report.failures))


if __name__ == "__main__":
    sys.exit(main())

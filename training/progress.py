"""Progress of long work: a bar on a terminal, or a line at intervals in a log file."""

import contextlib
import logging
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from pathlib import Path
from typing import TypeVar

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

log = logging.getLogger(__name__)

T = TypeVar("T")

EVERY = 30.0
"""Minimum number of seconds between two lines."""


def progress(
    items: Iterable[T],
    what: str,
    *,
    total: int | None = None,
    unit: str = "image",
    each: Callable[[T], int] = lambda _: 1,
    note: Callable[[], str] = lambda: "",
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[T]:
    """Yield the items. Meanwhile show the completed share, the speed and the remaining time.

    On a terminal this is a bar, which disappears at the end; log messages appear above it. Otherwise a line is logged
    at most every `EVERY` seconds, so short work logs none.

    Args:
        what: name of the work, such as "reading train".
        total: units of work in all items; by default the number of items, if it is known.
        unit: name of the unit, in the singular.
        each: units of work in one item.
        note: returns further text when the progress is shown, such as the current loss.
        clock: returns the time in seconds.
    """
    if total is None and isinstance(items, Sized):
        total = len(items)
    if sys.stderr.isatty():
        with logging_redirect_tqdm(), tqdm(total=total, desc=what, unit=unit, leave=False) as bar:
            for item in items:
                yield item
                bar.set_postfix_str(note(), refresh=False)
                bar.update(each(item))
        return
    start = told = clock()
    done = 0
    for item in items:
        yield item
        done += each(item)
        if (now := clock()) - told >= EVERY:
            told = now
            log.info("%s: %s", what, ", ".join(filter(None, (_line(done, total, now - start, unit), note()))))


def _line(done: int, total: int | None, seconds: float, unit: str) -> str:
    rate = done / seconds
    speed = f"{rate:.1f} {unit}s/s" if rate >= 0.1 else f"{seconds / max(1, done):.0f} s for each {unit}"
    if total is None:
        return f"{done} {unit}{'s' * (done != 1)}, {speed}"
    left = f", {duration((total - done) / rate)} left" if rate else ""
    return f"{done / max(1, total):.0%}, {speed}{left}".replace("%", " %", 1)


def duration(seconds: float) -> str:
    """Format seconds as `0:05`, `12:34` or `1:02:03`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


@contextlib.contextmanager
def logged_to(path: Path) -> Iterator[None]:
    """Write the log messages of `training` to a file too."""
    logger = logging.getLogger("training")
    level, handler = logger.level, logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%Y-%m-%d %H:%M:%S"))
    logger.addHandler(handler)
    if logger.getEffectiveLevel() > logging.INFO:
        logger.setLevel(logging.INFO)
    try:
        yield
    except BaseException as exc:
        handler.handle(logging.makeLogRecord({"msg": f"stopped by {exc!r}", "levelno": logging.ERROR}))
        raise
    finally:
        logger.setLevel(level)
        logger.removeHandler(handler)
        handler.close()

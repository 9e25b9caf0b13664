"""Run a function on many inputs in several processes."""

import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from tqdm import tqdm

from handler.settings import granted_threads
from training.errors import DataError

In = TypeVar("In")
Out = TypeVar("Out")

_CHUNK = 16
_LEAST = 512
"""A process takes about a second to start: fewer inputs than this are not worth another one."""


def map_in_processes(
    function: Callable[[In], Out], inputs: Sequence[In], workers: int | None, title: str
) -> Iterator[Out]:
    """The results of `function` in the order of the inputs, with a progress bar.

    Args:
        function: can be pickled, as its inputs and results can.
        workers: number of processes; None for as many as there are cores. Few inputs need none but this one.
        title: of the bar.

    Raises:
        DataError: the operating system ended a process.
    """
    count = min(workers or granted_threads(), len(inputs) // _LEAST)
    if count < 2:
        yield from tqdm(map(function, inputs), title, len(inputs), leave=False, unit="image")
        return
    # A fork would copy the threads' locks of TensorFlow, if it was imported.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(count, context, initializer=_ignore_interrupts) as pool:
        try:
            results = pool.map(function, inputs, chunksize=_CHUNK)
            yield from tqdm(results, title, len(inputs), leave=False, unit="image")
        except BrokenProcessPool as exc:
            raise DataError(
                "a process that decodes images was ended, probably because memory ran out: give --workers 1"
            ) from exc
        finally:
            pool.shutdown(cancel_futures=True)


def _ignore_interrupts() -> None:
    """Ctrl-C reaches all processes; the first one ends the others."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

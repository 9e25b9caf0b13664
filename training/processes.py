"""Run a function on many inputs in several processes."""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import resource_tracker
from multiprocessing.context import SpawnContext, SpawnProcess
from types import TracebackType
from typing import Self, TypeVar

from handler.settings import granted_threads
from training.errors import DataError
from training.progress import progress

In = TypeVar("In")
Out = TypeVar("Out")

_CHUNK = 16
_LEAST = 512
"""Minimum number of inputs for a process: a process takes about a second to start."""


def map_in_processes(
    function: Callable[[In], Out], inputs: Sequence[In], workers: int | None, title: str
) -> Iterator[Out]:
    """Yield the results of `function` in the order of the inputs, and show the progress.

    Args:
        function: must be picklable, and its inputs and results too.
        workers: number of processes; None for one for each core. Few inputs are computed in this process.
        title: title of the work, see `training.progress`.

    Raises:
        DataError: the operating system ended a process.
    """
    count = min(workers or granted_threads(), len(inputs) // _LEAST)
    if count < 2:
        yield from progress(map(function, inputs), title, total=len(inputs))
        return
    with _pool(count) as pool:
        try:
            results = pool.map(function, inputs, chunksize=_CHUNK)
            yield from progress(results, title, total=len(inputs))
        except BrokenProcessPool as exc:
            raise _ended() from exc
        finally:
            pool.shutdown(cancel_futures=True)


class Workers:
    """A context manager of processes that prepare images before the network needs them.

    Args:
        count: number of processes; None for one for each core, or fewer if there are few images. With 1, a thread of
            this process is used instead.
        images: number of images in an epoch.
    """

    def __init__(self, count: int | None = None, images: int = _LEAST) -> None:
        self._count = count or max(1, min(granted_threads(), images // _LEAST))
        self._executor: Executor = ThreadPoolExecutor(1) if self._count == 1 else _pool(self._count)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._executor.shutdown(cancel_futures=True)

    def map(self, function: Callable[[In], Out], inputs: Iterable[In]) -> Iterator[Out]:
        """Yield the results in the order of the inputs. Only a few results are computed in advance.

        Args:
            function: must be picklable, and its inputs and results too.

        Raises:
            DataError: the operating system ended a process.
        """
        coming: deque[Future[Out]] = deque()
        try:
            for each in inputs:
                coming.append(self._executor.submit(function, each))
                if len(coming) > 2 * self._count:
                    yield coming.popleft().result()
            while coming:
                yield coming.popleft().result()
        except BrokenProcessPool as exc:
            raise _ended() from exc
        finally:
            for future in coming:
                future.cancel()


class _Process(SpawnProcess):
    """A process that ignores Ctrl-C from its start: Ctrl-C reaches all processes, and the main one stops the others."""

    def start(self) -> None:
        resource_tracker.ensure_running()  # it unblocks the signal when it starts
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            super().start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _Context(SpawnContext):
    """Spawns, because a fork would copy the locks of TensorFlow's threads, if it was imported."""

    Process = _Process


def _pool(count: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(count, _Context(), initializer=_start)


def _ended() -> DataError:
    return DataError("a process that prepares images was ended, probably because memory ran out: give --workers 1")


def _start() -> None:
    """Exit when the main process exits, even if it was killed."""
    first = multiprocessing.parent_process()
    if first is not None:
        threading.Thread(target=_end_after, args=(first,), daemon=True).start()


def _end_after(first: multiprocessing.process.BaseProcess) -> None:
    first.join()
    os._exit(1)

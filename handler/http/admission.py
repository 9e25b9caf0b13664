"""Limit the number and size of concurrent requests, so that under overload memory suffices and errors are clear."""

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from handler.errors import Overloaded

T = TypeVar("T")

Charge = Callable[[int], None]
"""Called with the length of each piece of a body, before it is kept."""


class AdmissionLimiter:
    """Admits requests and runs their work in threads. Belongs to one event loop at a time.

    Args:
        workers: number of jobs that run at the same time; others wait.
        max_in_flight: maximum number of concurrent requests, including those that wait. Each has its body in memory.
        max_bytes: maximum number of bytes of all their bodies together.
    """

    def __init__(self, workers: int, max_in_flight: int, max_bytes: int) -> None:
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="score")
        self._max_in_flight = max_in_flight
        self._max_bytes = max_bytes
        self._in_flight = 0
        self._bytes = 0

    @contextmanager
    def admitted(self) -> Iterator[Charge]:
        """Count a request as in flight while it is handled.

        Yields:
            A function to call with the length of each piece of the body when it arrives. The declared content length is
            not counted, because it takes no memory. The function also raises `Overloaded`. All counts are undone at the
            end.

        Raises:
            Overloaded: too many requests are in flight.
        """
        if self._in_flight >= self._max_in_flight:
            raise Overloaded(f"{self._in_flight} requests are already in progress. Try again in a moment.")
        held = 0

        def charge(length: int) -> None:
            nonlocal held
            if self._bytes + length > self._max_bytes:
                raise Overloaded("The requests in progress have too many bytes in total. Try again in a moment.")
            self._bytes += length
            held += length

        self._in_flight += 1
        try:
            yield charge
        finally:
            self._in_flight -= 1
            self._bytes -= held

    async def run(self, work: Callable[[], T]) -> T:
        """Run blocking work in a thread, as soon as one is free."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

"""How much work is let in at a time, so that a crowd gets a clear no instead of a process that runs out of memory."""

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
        workers: jobs that run at the same time; further ones wait for their turn.
        max_in_flight: requests that may be under way, waiting ones included, each with its body in memory.
        max_bytes: bytes that their bodies may have together.
    """

    def __init__(self, workers: int, max_in_flight: int, max_bytes: int) -> None:
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="score")
        self._max_in_flight = max_in_flight
        self._max_bytes = max_bytes
        self._in_flight = 0
        self._bytes = 0

    @contextmanager
    def admitted(self) -> Iterator[Charge]:
        """Hold a place while a request is under way.

        Yields:
            A function to call with the length of each piece of the body, as it arrives: a length that a client only
            declares takes no memory. It raises `Overloaded` as well. All is given back at the end.

        Raises:
            Overloaded: there is none.
        """
        if self._in_flight >= self._max_in_flight:
            raise Overloaded(f"{self._in_flight} requests are already under way: try again in a moment")
        held = 0

        def charge(length: int) -> None:
            nonlocal held
            if self._bytes + length > self._max_bytes:
                raise Overloaded("the requests under way have too many bytes together: try again in a moment")
            self._bytes += length
            held += length

        self._in_flight += 1
        try:
            yield charge
        finally:
            self._in_flight -= 1
            self._bytes -= held

    async def run(self, work: Callable[[], T]) -> T:
        """Do blocking work in a thread, when it is its turn."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

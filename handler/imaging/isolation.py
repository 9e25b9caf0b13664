"""Decoding in a separate process, so that no file costs more than its share, whatever its decoder does.

A worker process decodes. The operating system limits its CPU time and its memory, and the caller limits the wall-clock
time. A worker that meets a limit, or crashes, is replaced, and the caller gets an error.

Workers are forked from a small parent process with one thread, which has loaded the decoders. `Decoder` starts that
parent: by `fork` while this process has a single thread itself, which is why a server makes its decoder first; else as
a new Python process, which takes longer. Sockets connect the processes. There is no shared memory and no named
semaphore, because AWS Lambda has neither.
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from dataclasses import asdict
from time import monotonic
from typing import Self

import numpy as np

from handler import errors
from handler.errors import HandlerError, InputError, Overloaded, UnreadableImage
from handler.imaging.decode import Pixels
from handler.imaging.limits import Limits
from handler.imaging.worker import ANSWER, JOB, NO_ROOM, ORDER, receive, run_and_exit, serve_orders

SLOW_AFTER_S = 0.25
"""From then on a file counts as slow: its worker gets a low priority, and another file may begin beside it."""

MAX_SLOW = 4
"""Slow files that may go on besides the others."""

_PLACE_AFTER_S = 0.1
"""From then on a file needs one of these places, or is refused. So many attackers do not hold up others for long."""

_LOW_PRIORITY = 10
"""Niceness of a slow worker. Other files go first, and a good one still gets done on a busy machine, unlike at 19."""

_DYING_S = 2.0
"""Most seconds that a killed worker is waited for."""

_MAX_ERROR_BYTES = 1 << 16


class Decoder:
    """Decodes files in worker processes. Safe to share between threads.

    Args:
        limits: what one file may cost.
        workers: files that are decoded at the same time, without the slow ones.
    """

    def __init__(self, limits: Limits, *, workers: int = 1) -> None:
        self._limits = limits
        self._turns = threading.BoundedSemaphore(workers)
        self._slow = threading.BoundedSemaphore(MAX_SLOW)
        self._parent = _Parent(limits)
        self._idle = [self._parent.worker()]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End all processes. Whatever is being decoded, and is to be decoded later, raises `Overloaded`."""
        self._parent.close()
        for worker in self._idle:
            worker.channel.close()

    def decode(self, data: bytes, size: int) -> Pixels:
        """Do what `handler.imaging.decode.decode` does, within the limits.

        Args:
            data: see there.
            size: see there.

        Raises:
            DecodingTooCostly: the file takes more time or memory than the limits allow.
            Overloaded: the file is slow, and as many slow ones as are allowed are being decoded; or this is closed.
            InputError: see there.
        """
        with contextlib.ExitStack() as place:
            with self._turns:
                start = monotonic()
                deadline = start + self._limits.wall_s
                worker = self._begin(data, size, deadline)
                if worker.has_answered(min(deadline, start + _PLACE_AFTER_S)):
                    return self._finish(worker, size)
                has_place = self._slow.acquire(blocking=False)
                if has_place:
                    place.callback(self._slow.release)
                    if worker.has_answered(min(deadline, start + SLOW_AFTER_S)):
                        return self._finish(worker, size)
            if not has_place:
                self._parent.end(worker)
                raise Overloaded("Several costly images are being decoded already. Try again in a moment.")
            # An unprivileged process cannot get its priority back, so this is the worker's last file.
            with contextlib.suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, worker.pid, _LOW_PRIORITY)
            worker.is_last = True
            if worker.has_answered(deadline):
                return self._finish(worker, size)
            self._parent.end(worker)
            raise self._failure()

    def _begin(self, data: bytes, size: int, deadline: float) -> "_Worker":
        """Send a file to an idle worker or a new one. An idle one may have been killed, and the others with it."""
        for take in (self._idle.pop, self._parent.worker):
            try:
                worker = take()
            except IndexError:
                continue
            try:
                worker.channel.settimeout(max(deadline - monotonic(), 0.001))
                worker.channel.sendall(JOB.pack(size, len(data)))
                worker.channel.sendall(data)
            except OSError:
                self._parent.end(worker)
            else:
                return worker
        raise self._failure()

    def _failure(self) -> HandlerError:
        """What it means that a worker is gone."""
        return _closed() if self._parent.is_closed else self._limits.exceeded()

    def _finish(self, worker: "_Worker", size: int) -> Pixels:
        try:
            is_pixels, rest = worker.answer(max(size * size, _MAX_ERROR_BYTES))
        except OSError:
            died_of = self._parent.end(worker)
            if died_of in _CRASHES:
                raise UnreadableImage("The image is corrupt: its decoder crashed. Export the image again.") from None
            raise self._failure() from None
        if worker.is_last:
            self._parent.end(worker)
        else:
            self._idle.append(worker)
        if is_pixels:
            return np.frombuffer(rest, np.uint8).reshape(size, size)
        name, message = json.loads(rest)
        kind = getattr(errors, name)
        raise kind(message) if issubclass(kind, InputError) else RuntimeError(name)


def _closed() -> Overloaded:
    return Overloaded("The service is shutting down. Send the image again.")


_CRASHES = tuple(-number for number in (signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL))


class _Worker:
    """This side's end of a worker process."""

    def __init__(self, pid: int, channel: socket.socket) -> None:
        self.pid = pid
        self.channel = channel
        self.is_last = False

    def has_answered(self, until: float) -> bool:
        """Wait for an answer, or for the death of the worker, which shows when the answer is read."""
        self.channel.settimeout(max(until - monotonic(), 0.001))
        try:
            self.channel.recv(1, socket.MSG_PEEK)
        except TimeoutError:
            return False
        except OSError:
            pass
        return True

    def wait_until_dead(self) -> None:
        """Wait until the system has closed its sockets, which it does after it has taken the memory back."""
        self.channel.settimeout(_DYING_S)
        with contextlib.suppress(OSError):
            while self.channel.recv(1 << 16):
                pass

    def answer(self, most: int) -> tuple[bool, bytes]:
        """Whether the rest is pixels, and the rest, of at most so many bytes.

        Raises:
            OSError: the worker died, or answers with more: a hostile file has taken it over.
        """
        is_pixels, ended, length = ANSWER.unpack(receive(self.channel, ANSWER.size))
        if length > most:
            raise ConnectionResetError
        self.is_last |= ended
        return is_pixels, receive(self.channel, length)


class _Parent:
    """This side's end of the parent process, which is started again if it dies."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._lock = threading.Lock()
        self.is_closed = False
        self._start(may_fork=_has_one_thread())

    def _start(self, *, may_fork: bool) -> None:
        self._channel, theirs = socket.socketpair()
        self._process: subprocess.Popen[bytes] | None = None
        self._pid = 0
        with theirs:
            if may_fork:
                self._pid = os.fork()
                if self._pid == 0:
                    run_and_exit(serve_orders, theirs, self._limits)
            else:
                module, limits = serve_orders.__module__, json.dumps(asdict(self._limits))
                paths = os.pathsep.join(path or os.curdir for path in sys.path)
                self._process = subprocess.Popen(  # noqa: S603
                    [sys.executable, "-m", module, str(theirs.fileno()), limits],
                    env={**os.environ, "PYTHONPATH": paths},
                    pass_fds=[theirs.fileno()],
                )

    def close(self) -> None:
        with self._lock:
            self.is_closed = True
            self._end()

    def _end(self) -> None:
        self._channel.close()
        if self._process:
            self._process.wait()
        elif self._pid:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(self._pid, 0)

    def worker(self) -> _Worker:
        """A new worker.

        Raises:
            Overloaded: the system has no room for one more process, or this is closed.
        """
        with self._lock:
            if self.is_closed:
                raise _closed()
            try:
                return self._new_worker()
            except OSError:
                self._end()
                self._start(may_fork=False)
                return self._new_worker()

    def _new_worker(self) -> _Worker:
        self._channel.sendall(ORDER.pack(0))
        message, descriptors, _, _ = socket.recv_fds(self._channel, ORDER.size, 1)
        if not message:
            raise ConnectionResetError
        [pid] = ORDER.unpack(message)
        if pid == NO_ROOM:
            raise Overloaded("There is no room for one more process. Try again in a moment.")
        return _Worker(pid, socket.socket(fileno=descriptors[0]))

    def end(self, worker: _Worker) -> int:
        """Kill a worker, if it is not dead yet. The parent does it, which knows that the process id is still the
        worker's.

        Returns:
            Its exit code: minus the number of the signal that ended it; 0 if it cannot be told.
        """
        with worker.channel, contextlib.suppress(OSError):
            with self._lock:
                self._channel.sendall(ORDER.pack(-worker.pid))
            # It may take a while to give its memory back at its low priority. Other files do not wait for that.
            worker.wait_until_dead()
            with self._lock:
                self._channel.sendall(ORDER.pack(worker.pid))
                return int(ORDER.unpack(receive(self._channel, ORDER.size))[0])
        return 0


def _has_one_thread() -> bool:
    """Whether a fork of this process is safe. Threads of libraries count, which only Linux tells of."""
    try:
        return len(os.listdir("/proc/self/task")) == 1  # noqa: PTH208
    except OSError:
        return False

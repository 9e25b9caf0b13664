"""Decode files in a separate process with limits on time and memory.

A worker process decodes. The operating system limits its CPU time and its memory, and the caller limits the wall-clock
time. A worker that reaches a limit or crashes is replaced, and the caller gets an error.

Workers are forked from a small parent process, which has one thread and has loaded the decoders. `Decoder` starts the
parent. If this process has only one thread, it uses `fork`; so a server creates its decoder first. Otherwise it starts
a new Python process, which takes longer. Sockets connect the processes. Shared memory and named semaphores are not
used, because AWS Lambda has neither.
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
"""After this time a file counts as slow: its worker gets a low priority, and decoding of another file may begin."""

MAX_SLOW = 4
"""Most slow files that are decoded at the same time, in addition to the others."""

_PLACE_AFTER_S = 0.1
"""From then on a file needs one of these places, or is refused. So many attackers do not hold up others for long."""

_LOW_PRIORITY = 10
"""Niceness of a slow worker. Other files have priority. At 19, a valid file might never finish on a busy machine."""

_DYING_S = 2.0
"""Most seconds to wait for a killed worker."""

_MAX_ERROR_BYTES = 1 << 16


class Decoder:
    """Decodes files in worker processes. Safe to share between threads.

    Args:
        limits: limits on the decoding of one file.
        workers: number of files that are decoded at the same time, not counting the slow ones.
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
        """End all processes. Current and later calls of `decode` raise `Overloaded`."""
        self._parent.close()
        for worker in self._idle:
            worker.channel.close()

    def decode(self, data: bytes, size: int) -> Pixels:
        """Do the same as `handler.imaging.decode.decode`, within the limits.

        Args:
            data: see `handler.imaging.decode.decode`.
            size: see `handler.imaging.decode.decode`.

        Raises:
            DecodingTooCostly: the file takes more time or memory than the limits allow.
            Overloaded: the file is slow, and `MAX_SLOW` other slow files are being decoded; or this decoder is closed.
            InputError: see `handler.imaging.decode.decode`.
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
                raise Overloaded("Several other costly images are being decoded. Try again in a moment.")
            # An unprivileged process cannot raise its priority again, so this is the worker's last file.
            with contextlib.suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, worker.pid, _LOW_PRIORITY)
            worker.is_last = True
            if worker.has_answered(deadline):
                return self._finish(worker, size)
            self._parent.end(worker)
            raise self._failure()

    def _begin(self, data: bytes, size: int, deadline: float) -> "_Worker":
        """Send a file to an idle worker. If there is none, or it was killed, send it to a new worker."""
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
        """The error to raise when a worker has died."""
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
    """A worker process, as the caller sees it."""

    def __init__(self, pid: int, channel: socket.socket) -> None:
        self.pid = pid
        self.channel = channel
        self.is_last = False

    def has_answered(self, until: float) -> bool:
        """Wait for an answer or the death of the worker. Reading the answer shows which of the two happened."""
        self.channel.settimeout(max(until - monotonic(), 0.001))
        try:
            self.channel.recv(1, socket.MSG_PEEK)
        except TimeoutError:
            return False
        except OSError:
            pass
        return True

    def wait_until_dead(self) -> None:
        """Wait until the system has closed the worker's sockets. It does so after it has freed the memory."""
        self.channel.settimeout(_DYING_S)
        with contextlib.suppress(OSError):
            while self.channel.recv(1 << 16):
                pass

    def answer(self, most: int) -> tuple[bool, bytes]:
        """Return whether the answer is pixels, and its content, of at most `most` bytes.

        Raises:
            OSError: the worker died, or its answer is longer. Then a hostile file may control it.
        """
        is_pixels, ended, length = ANSWER.unpack(receive(self.channel, ANSWER.size))
        if length > most:
            raise ConnectionResetError
        self.is_last |= ended
        return is_pixels, receive(self.channel, length)


class _Parent:
    """The parent process, as the caller sees it. If it dies, it is started again."""

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
        """Start a new worker.

        Raises:
            Overloaded: the system cannot start one more process, or the decoder is closed.
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
            raise Overloaded("The system cannot start one more process. Try again in a moment.")
        return _Worker(pid, socket.socket(fileno=descriptors[0]))

    def end(self, worker: _Worker) -> int:
        """Kill a worker if it is still alive. The parent does this, because it knows that the process id still belongs
        to the worker.

        Returns:
            Its exit code: minus the number of the signal that ended it; 0 if it is unknown.
        """
        with worker.channel, contextlib.suppress(OSError):
            with self._lock:
                self._channel.sendall(ORDER.pack(-worker.pid))
            # At its low priority, freeing its memory may take a while. The lock is not held, so other files do not
            # wait.
            worker.wait_until_dead()
            with self._lock:
                self._channel.sendall(ORDER.pack(worker.pid))
                return int(ORDER.unpack(receive(self._channel, ORDER.size))[0])
        return 0


def _has_one_thread() -> bool:
    """Whether a fork of this process is safe. Threads of libraries count too; only Linux reports them."""
    try:
        return len(os.listdir("/proc/self/task")) == 1  # noqa: PTH208
    except OSError:
        return False

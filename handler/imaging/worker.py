"""The processes that decode files: a parent with one thread, and the workers that it forks.

`handler.imaging.isolation` starts the parent and communicates with both through sockets. The messages are defined here.
They are not pickled: a hostile file may control a worker, and the worker must not be able to run code elsewhere.

    python -m handler.imaging.worker SOCKET LIMITS    the command of a new parent process
"""

import contextlib
import ctypes
import gc
import json
import os
import resource
import signal
import socket
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from time import process_time
from typing import NoReturn

from handler.errors import DecodingTooCostly, InputError, UnreadableImage
from handler.imaging.decode import decode, warm_up
from handler.imaging.limits import Limits

ORDER = struct.Struct("=i")
"""A message to the parent. 0 starts a new worker: the parent answers with its process id and its socket, or with -1 if
the system cannot start one. Minus the process id of a worker kills it, without an answer. The process id of a dead
worker asks for its exit code, which is minus the number of the signal that ended it. It does not kill other
processes, and answers 0 for them.
"""

JOB = struct.Struct("=IQ")
"""To a worker, before a file: the width of the result in pixels, and the length of the file in bytes."""

ANSWER = struct.Struct("=??Q")
"""From a worker, before the pixels or the error: whether pixels follow, whether this is the worker's last answer, and
the length in bytes."""

NO_ROOM = -1

_GROWN_BYTES = 64 << 20
"""A worker ends after a file for which its memory grew by more than this, because it would not free all of it."""

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # as malloc.h numbers them

_NEAR_LIMIT = 0.5
"""If a decoder fails above this share of the memory limit, lack of memory counts as the reason. Nearly all valid
radiographs stay below it."""


def receive(channel: socket.socket, length: int) -> bytes:
    """Read exactly `length` bytes.

    Raises:
        ConnectionResetError: the other side died.
    """
    # Usually one piece. Only answers are joined from several pieces, never files.
    received = channel.recv(length, socket.MSG_WAITALL) if length else b""
    while len(received) < length:
        part = channel.recv(length - len(received), socket.MSG_WAITALL)
        if not part:
            raise ConnectionResetError
        received += part
    return received


def run_and_exit(work: Callable[[socket.socket, Limits], None], channel: socket.socket, limits: Limits) -> NoReturn:
    """Do `work` in a forked process, then exit without running the rest of the program."""
    try:
        work(channel, limits)
    finally:
        os._exit(0)


def serve_orders(channel: socket.socket, limits: Limits) -> None:
    """Start and end workers until the other side closes the socket."""
    for number in (signal.SIGINT, signal.SIGTERM):  # terminals and systemd send these to all processes of a service
        signal.signal(number, signal.SIG_IGN)
    _close_all_but(channel.fileno())
    _keep_freed_memory()
    warm_up()
    gc.freeze()  # so that garbage collection does not copy this memory, which the workers share
    gc.enable()  # `handler.startup` forks this process while it is off
    workers: set[int] = set()
    with contextlib.suppress(ConnectionError):
        while order := channel.recv(ORDER.size):
            [pid] = ORDER.unpack(order)
            if pid == 0:
                workers |= _fork_worker(channel, limits)
            elif -pid in workers:
                os.kill(-pid, signal.SIGKILL)
            elif pid > 0:
                channel.sendall(ORDER.pack(_exit_code(pid) if pid in workers else 0))
                workers.discard(pid)
    for pid in workers:
        os.kill(pid, signal.SIGKILL)
        _exit_code(pid)


def _exit_code(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _fork_worker(channel: socket.socket, limits: Limits) -> set[int]:
    """Fork a worker, send its socket to the caller, and return its process id; an empty set if the fork fails."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        try:
            pid = os.fork()
        except OSError:
            channel.sendall(ORDER.pack(NO_ROOM))
            return set()
        if pid == 0:
            channel.close()
            ours.close()
            run_and_exit(_serve_jobs, theirs, limits)
        socket.send_fds(channel, [ORDER.pack(pid)], [ours.fileno()])
    return {pid}


def _serve_jobs(channel: socket.socket, limits: Limits) -> None:
    """Decode files until the other side closes the socket or a limit ends this process."""
    _give_up_rights()
    at_start, resident_at_start = _peak_memory(), _resident_peak()
    if at_start:
        _limit(resource.RLIMIT_AS, at_start + (limits.memory_mb << 20))
    while job := channel.recv(JOB.size, socket.MSG_WAITALL):
        size, length = JOB.unpack(job)
        data = receive(channel, length)
        # The system counts all CPU time of a process, in whole seconds. So the limit is raised for each file.
        _limit(resource.RLIMIT_CPU, round(process_time()) + limits.cpu_s)
        try:
            is_pixels, answer = True, decode(data, size).tobytes()
        except InputError as exc:
            lacked_memory = _peak_memory() > at_start + (limits.memory_mb << 20) * _NEAR_LIMIT
            error = limits.exceeded() if _is_about_memory(exc, lacked_memory) else exc
            is_pixels, answer = False, json.dumps([type(error).__name__, str(error)]).encode()
        del data
        is_last = _resident_peak() > resident_at_start + _GROWN_BYTES
        channel.sendall(ANSWER.pack(is_pixels, is_last, len(answer)) + answer)
        if is_last:
            return


def _is_about_memory(exc: InputError, lacked_memory: bool) -> bool:
    """Whether decoding failed for lack of memory, which many decoders report as corrupt data."""
    if isinstance(exc, UnreadableImage) and exc.__cause__:
        return lacked_memory or "memory" in str(exc.__cause__).lower()
    return isinstance(exc, DecodingTooCostly)


def _close_all_but(channel: int) -> None:
    """Close all inherited files but the socket. The standard streams go to the null device, because C libraries write
    messages about the content of a file to them."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in {0, 1, 2} - {channel}:
        os.dup2(nowhere, descriptor)
    os.closerange(3, channel)
    os.closerange(max(3, channel + 1), 4096)


def _keep_freed_memory() -> None:
    """Let glibc keep what an image has freed for the next one. To get it from the system each time takes 1 ms."""
    with contextlib.suppress(AttributeError):  # other C libraries
        mallopt = ctypes.CDLL(None).mallopt
        for parameter in (_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD):
            mallopt(parameter, _GROWN_BYTES // 2)


def _give_up_rights() -> None:
    """Drop rights that a decoder does not need. When memory runs out, the system kills this process first."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core dump would contain the image
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")


def _limit(kind: int, most: int) -> None:
    """Set a soft limit, at most the hard limit that this process was started with."""
    _, hard = resource.getrlimit(kind)
    resource.setrlimit(kind, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


def _resident_peak() -> int:
    """The most bytes of physical memory that this process has had. Unlike `_peak_memory`, it takes no time to ask."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _peak_memory() -> int:
    """Peak virtual memory of this process in bytes; 0 where the system does not report it."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return 0
    return int(status.partition("VmPeak:")[2].split()[0]) << 10


if __name__ == "__main__":
    serve_orders(socket.socket(fileno=int(sys.argv[1])), Limits(**json.loads(sys.argv[2])))

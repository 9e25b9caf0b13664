"""The server of `python -m handler serve` as a process that is measured from outside."""

import contextlib
import http.client
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import psutil

from export.benchmark.environment import ROOT, environment, pinned
from export.errors import RunnerError
from handler.settings import Settings

READY_S = 60.0
"""The server must answer within this time after its start."""

_POLL_S = 0.02


@dataclass(frozen=True, slots=True)
class Server:
    """A server that answers at 127.0.0.1.

    Args:
        port: where it listens.
        settings: what its environment variables mean on the CPU cores that it may use.
        shares_cores: whether this process uses the same CPU cores.
    """

    port: int
    settings: Settings
    shares_cores: bool


@contextlib.contextmanager
def serving(bundle: Path, threads: int) -> Iterator[Server]:
    """Start the server and wait until it answers. Stop it at the end, after an interrupt or SIGTERM too.

    Args:
        bundle: folder of the model bundle; all other settings come from the environment variables of this process.
        threads: CPU cores that the server may use. Meanwhile this process uses the others, if there are any.

    Raises:
        RunnerError: the server ended, or did not answer within `READY_S`.
        SettingsError: an environment variable has an invalid value.
    """
    variables = environment(threads) | {"MODEL_BUNDLE": str(bundle.resolve())}
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as log, _interrupted_by_sigterm():
        with pinned(threads):
            settings = Settings.from_environment(variables)
            process = subprocess.Popen(
                [sys.executable, "-m", "handler", "serve", "--port", "0"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,  # a line for each request, as in production
                stderr=log,
                cwd=ROOT,
                env=variables,
            )
        try:
            port = _wait(process, log)
            with _beside(threads) as apart:
                yield Server(port, settings, shares_cores=not apart)
        finally:
            process.terminate()
            try:
                process.wait(settings.shutdown_timeout_s + 5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait(process: "subprocess.Popen[bytes]", log: IO[str]) -> int:
    """Wait until the server answers; returns its port."""
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            log.seek(0)
            last = next((line for line in reversed(log.read().splitlines()) if line.strip()), "")
            raise RunnerError(f"the server ended with status {process.returncode}: {last.strip()}")
        port = _listening_port(process.pid)
        if port is not None:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=READY_S)
            with contextlib.suppress(OSError, http.client.HTTPException), contextlib.closing(connection):
                connection.request("GET", "/healthz")
                if connection.getresponse().status == http.HTTPStatus.OK:
                    return port
        time.sleep(_POLL_S)
    raise RunnerError(f"the server did not answer within {READY_S:.0f} s: close other programs and start again")


def _listening_port(pid: int) -> int | None:
    # The system has chosen the port, so no other process can have taken it.
    with contextlib.suppress(psutil.Error):
        for connection in psutil.Process(pid).net_connections("tcp4"):
            if connection.status == psutil.CONN_LISTEN:
                return int(connection.laddr.port)
    return None


@contextlib.contextmanager
def _beside(threads: int) -> Iterator[bool]:
    """Keep this thread off the CPU cores of `pinned(threads)`. Yields whether there are others."""
    process = psutil.Process()
    before = process.cpu_affinity() if hasattr(process, "cpu_affinity") else []
    others = sorted(before)[:-threads]
    if others:
        process.cpu_affinity(others)
    try:
        yield bool(others)
    finally:
        if others:
            process.cpu_affinity(before)


@contextlib.contextmanager
def _interrupted_by_sigterm() -> Iterator[None]:
    """Let SIGTERM raise SystemExit, so that this process ends its server too."""

    def end(number: int, frame: Any) -> None:  # noqa: ARG001
        sys.exit(128 + number)

    if threading.current_thread() is not threading.main_thread():  # only there Python takes signals
        yield
        return
    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)

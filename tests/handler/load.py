"""Send images from many clients to a real server on this machine, and check for errors and memory growth.

python -m tests.handler.load --clients 50 --seconds 60
"""

import argparse
import itertools
import os
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx2

from tests.handler.fuzz import resident_mb
from tests.handler.images import XRAYS, encode, phantom

MAX_GROWTH_MB = 48
"""Memory growth between the first fifth of the run, when threads and buffers are allocated, and its end."""


@dataclass
class Report:
    """The results of the clients."""

    seconds: float = 0.0
    latencies_ms: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    growth_mb: float = 0.0
    peak_mb: float = 0.0

    def __str__(self) -> str:
        cuts = statistics.quantiles(self.latencies_ms, n=100)
        return (
            f"{len(self.latencies_ms):,} answers in {self.seconds:.0f} s, "
            f"{len(self.failures)} failures; p50 {cuts[49]:.0f} ms, p90 {cuts[89]:.0f} ms, p99 {cuts[98]:.0f} ms; "
            f"server {self.peak_mb:.0f} MB, grew by {self.growth_mb:.1f} MB"
        )


@contextmanager
def serving(
    *prefix: str, start: str = "from handler.__main__ import main; main()", **settings: str
) -> Iterator[tuple[str, int]]:
    """Start a server in another process; yields its address and its process id.

    Args:
        prefix: a command before the server's, such as `taskset`.
        start: the Python code to run.
        settings: environment variables.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {**os.environ, "LOG_LEVEL": "ERROR", **settings}
    command = [*prefix, sys.executable, "-c", start, "serve", "--port", str(port)]
    server = subprocess.Popen(command, env=environment)
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(300):
            try:
                httpx2.get(f"{url}/readyz").raise_for_status()
                break
            except httpx2.ConnectError:
                time.sleep(0.1)
        yield url, server.pid
    finally:
        server.terminate()
        server.wait(10)


def load(url: str, process: int, *, clients: int, seconds: float) -> Report:
    """Let clients send one image after the other, each over its own connection."""
    images = [path.read_bytes() for path in sorted(XRAYS.glob("*/*.jpeg"))[:20]] or [encode(phantom(1200, 1000))]
    report = Report(seconds=seconds)
    end = time.monotonic() + seconds

    def client(number: int) -> None:
        with httpx2.Client(timeout=60, verify=False) as http:  # loading certificates for each client takes a while
            for turn in itertools.count(number):
                image = images[turn % len(images)]
                begin = time.perf_counter()
                try:
                    answer = http.post(f"{url}/v1/predictions?force=true", files={"file": image})
                    if answer.status_code != 200:
                        report.failures.append(f"status {answer.status_code}: {answer.text}")
                except httpx2.HTTPError as exc:
                    report.failures.append(repr(exc))
                report.latencies_ms.append((time.perf_counter() - begin) * 1000)
                if time.monotonic() > end:
                    break

    threads = [threading.Thread(target=client, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    time.sleep(seconds / 5)
    settled = resident_mb(process)
    for thread in threads:
        thread.join()
    report.peak_mb = resident_mb(process)
    report.growth_mb = report.peak_mb - settled
    if report.growth_mb > MAX_GROWTH_MB:
        report.failures.append(f"memory grew by {report.growth_mb:.0f} MB")
    return report


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=60)
    options = parser.parse_args()
    with serving() as (url, process):
        report = load(url, process, clients=options.clients, seconds=options.seconds)
    print(report)
    for failure in report.failures[:20]:
        print(failure)
    return int(bool(report.failures))


if __name__ == "__main__":
    sys.exit(main())

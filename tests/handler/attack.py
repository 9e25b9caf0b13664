"""Send costly files and good images to a real server with one CPU: statuses, times, memory, and how it stops.

    python -m tests.handler.attack --clients 3 --seconds 60 [--files FOLDER] [--cpu 0]

Each client sends costly files one after the other, generated ones or those of a folder. Another client sends a JPEG of
200 kB five times a second. At the end the server gets SIGTERM while the clients still send costly files. Linux only.
"""

import argparse
import itertools
import os
import random
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import httpx2

from tests.handler.costly import costly_files
from tests.handler.images import encode, phantom
from tests.handler.load import serving
from tests.handler.processes import cpu_s, descendants, is_alive, memory_mb

URL = "/v1/predictions?force=true"
PER_SECOND = 5

MAX_GOOD_P99_S = 1.0
MAX_ANSWER_S = 8.0
MAX_STOP_S = 10.0


@dataclass
class Report:
    """The results of the clients."""

    costly: dict[str, list[tuple[int, float]]] = field(default_factory=dict)
    """Status and seconds of each answer to a costly file, by the file's name. Status 0: no answer."""
    good: list[tuple[int, float]] = field(default_factory=list)
    idle_mb: float = 0.0
    peak_mb: float = 0.0
    """Resident memory of all processes together. Shared memory counts for each process."""
    stop_s: float = 0.0
    left: int = 0
    """Number of processes that still exist two seconds after the server has ended."""
    cpu_s: float = 0.0

    def failures(self) -> list[str]:
        found = [f"good image: status {status}" for status, _ in self.good if status != 200]
        for name, answers in self.costly.items():
            found += [f"{name}: status {status}" for status, _ in answers if not 400 <= status < 500 and status != 503]
            found += [f"{name}: answered after {seconds:.1f} s" for _, seconds in answers if seconds > MAX_ANSWER_S]
        if self.good and _quantile(self.good, 99) > MAX_GOOD_P99_S:
            found.append("good images: p99 above 1 s")
        if self.stop_s > MAX_STOP_S:
            found.append(f"stopped after {self.stop_s:.1f} s")
        return found + [f"{self.left} processes left"] * bool(self.left)

    def __str__(self) -> str:
        lines = [
            f"{name:<24} {dict(Counter(status for status, _ in answers))}, "
            f"p50 {_quantile(answers, 50):.2f} s, max {_quantile(answers, 100):.2f} s"
            for name, answers in sorted(self.costly.items())
        ]
        counts = dict(Counter(status for status, _ in self.good))
        p50, p99, longest = (_quantile(self.good, percent) * 1000 for percent in (50, 99, 100))
        lines.append(f"good: {counts}, p50 {p50:.0f} ms, p99 {p99:.0f} ms, max {longest:.0f} ms")
        lines.append(f"memory of all processes: idle {self.idle_mb:.0f} MB, peak {self.peak_mb:.0f} MB")
        lines.append(
            f"server's own CPU {self.cpu_s:.1f} s; stopped {self.stop_s:.1f} s after SIGTERM; {self.left} left"
        )
        return "\n".join(lines)


def _quantile(answers: list[tuple[int, float]], percent: int) -> float:
    seconds = sorted(value for _, value in answers)
    return seconds[min(len(seconds) * percent // 100, len(seconds) - 1)]


def attack(url: str, process: int, files: Mapping[str, bytes], *, clients: int, seconds: float) -> Report:
    """Send costly files and good ones for `seconds`, then stop the server."""
    report, over = Report(), threading.Event()
    good_image = encode(phantom(1800, 1500))
    report.idle_mb = _tree_mb(process)
    cpu_before = cpu_s(process, with_ended_children=False)
    stopping = threading.Event()

    def ask(http: httpx2.Client, data: bytes) -> tuple[int, float]:
        begin = time.perf_counter()
        try:
            status = http.post(
                url + URL, content=data, headers={"content-type": "application/octet-stream"}
            ).status_code
        except httpx2.HTTPError:
            status = 0
        return status, time.perf_counter() - begin

    def attacker(number: int) -> None:
        dice = random.Random(number)
        with httpx2.Client(timeout=60, verify=False) as http:
            while not over.is_set():
                name = dice.choice(sorted(files))
                answer = ask(http, files[name])
                if stopping.is_set():
                    time.sleep(0.05)
                else:
                    report.costly.setdefault(name, []).append(answer)

    def friend() -> None:
        with httpx2.Client(timeout=60, verify=False) as http:
            begin = time.perf_counter()
            for turn in itertools.count(1):
                answer = ask(http, good_image)
                if stopping.is_set():
                    return
                report.good.append(answer)
                time.sleep(max(0.0, begin + turn / PER_SECOND - time.perf_counter()))

    def watcher() -> None:
        while not stopping.wait(0.1):
            report.peak_mb = max(report.peak_mb, _tree_mb(process))

    threads = [threading.Thread(target=attacker, args=(number,)) for number in range(clients)]
    threads += [threading.Thread(target=friend), threading.Thread(target=watcher)]
    for thread in threads:
        thread.start()
    time.sleep(seconds)
    report.cpu_s = cpu_s(process, with_ended_children=False) - cpu_before
    family = descendants(process)
    stopping.set()
    begin = time.perf_counter()
    os.kill(process, signal.SIGTERM)
    while is_alive(process) and time.perf_counter() - begin < 60:
        family += [pid for pid in descendants(process) if pid not in family]
        time.sleep(0.02)
    report.stop_s = time.perf_counter() - begin
    time.sleep(2)
    report.left = sum(map(is_alive, family))
    over.set()
    for thread in threads:
        thread.join()
    return report


def _tree_mb(process: int) -> float:
    return sum(map(memory_mb, [process, *descendants(process)]))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--files", type=Path, help="folder with costly files; the default is to make some")
    parser.add_argument("--cpu", type=int, default=0, help="CPU that the server runs on")
    options = parser.parse_args()
    files = {path.name: path.read_bytes() for path in options.files.iterdir()} if options.files else costly_files()
    with serving("taskset", "-c", str(options.cpu)) as (url, process):
        report = attack(url, process, files, clients=options.clients, seconds=options.seconds)
    print(report)
    print(*Counter(report.failures()).items(), sep="\n")
    return int(bool(report.failures()))


if __name__ == "__main__":
    sys.exit(main())

"""Time fresh processes from their start to their first answer.

    python -m export benchmark --cold-start

Three ways take turns: this project's Lambda entry with a stored event of API Gateway, the least that can answer at all
(NumPy, ONNX Runtime, the same model), and the seed's service (Flask, TensorFlow, Pillow). All are run with their files
in the page cache, and then with the page cache dropped where that is allowed, which is what a new machine sees.
"""

import datetime
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from export.errors import ContestantError, NotInstalled
from export.timing.machine import describe
from export.timing.process import PICTURE, ROOT, environment, pinned, write_event
from export.timing.seed_network import KERAS, prepare
from handler.contract import MODEL_FILE, load_bundle

DROP_CACHES = Path("/proc/sys/vm/drop_caches")

LAMBDA = "this project's Lambda entry"
SESSION = "NumPy and ONNX Runtime alone"
SEED = "Flask and TensorFlow"

WARM, DROPPED = "warm", "dropped"

Run = dict[str, Any]


def cold_start(
    bundle: Path,
    out: Path,
    *,
    network: Path | None = None,
    network_size: int | None = None,
    threads: int = 1,
    rounds: int = 20,
) -> Run:
    """Measure the three ways.

    Args:
        bundle: what the Lambda entry and the bare session load.
        out: the seed's network is kept here between runs.
        network: a trained Keras network for the seed's service; otherwise the seed's with random weights.
        network_size: width and height of its pictures, where nothing else tells.
        threads: cores that each process is held to.
        rounds: processes of each way and page cache.

    Returns:
        `date`, `machine`, `threads`, `rounds`, `notes`, and `contestants`, each with `name`, `status` (measured,
        missing or failed), and `reason` or `resident_mb`, `peak_mb` and `page_cache`: by its state (warm, dropped)
        `total_ms`, `parts_ms` by part, and the `ratio` to the fastest. Milliseconds have `p50`, `p90` and `mean`; the
        means of the parts sum to that of the total.

    Raises:
        BundleError: see `handler.errors`.
    """
    load_bundle(bundle)
    seed = prepare(out, network, network_size, None, [KERAS])
    dropping = _drop_page_cache()
    states = [WARM, DROPPED] if dropping else [WARM]
    runs: dict[str, dict[str, list[Run]]] = {name: {state: [] for state in states} for name in (LAMBDA, SESSION, SEED)}
    stopped: dict[str, ContestantError] = {SEED: seed.failures[KERAS]} if KERAS in seed.failures else {}
    with tempfile.TemporaryDirectory() as folder, pinned(threads):
        ways = {
            LAMBDA: ["lambda", str(write_event(Path(folder)))],
            SESSION: ["session", str((bundle / MODEL_FILE).resolve())],
            SEED: ["seed", str(seed.file(KERAS).resolve()), str(seed.size), str(PICTURE)],
        }
        variables = environment(threads) | {"MODEL_BUNDLE": str(bundle.resolve())}
        # The first round compiles what is not byte-compiled yet and fills the page cache; it does not count. Nothing is
        # dropped before the last warm round: who came next would be charged for reading its files again.
        turns = [None, *(state for state in states for _ in range(rounds))]
        for state in tqdm(turns, desc="rounds", leave=False):
            for name in [name for name in ways if name not in stopped]:
                try:
                    run = _start(ways[name], variables, drop=state == DROPPED)
                except ContestantError as exc:
                    stopped[name] = exc
                    continue
                if state:
                    runs[name][state].append(run)
    notes = ["The Lambda entry builds its session in a thread while it imports: the two are one part."]
    if not dropping:
        notes.append(f"The page cache stayed warm: {DROP_CACHES} is not writable here; run as root on Linux.")
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": describe(),
        "threads": threads,
        "rounds": rounds,
        "notes": notes,
        "contestants": _contestants(runs, stopped),
    }


def _drop_page_cache() -> bool:
    """Whether the system let go of every file it held in memory."""
    if not DROP_CACHES.exists():
        return False
    os.sync()  # what is not written yet cannot be dropped
    try:
        DROP_CACHES.write_text("3\n")
    except OSError:
        return False
    return True


def _start(way: Sequence[str], variables: Mapping[str, str], *, drop: bool) -> Run:
    """Run one process to its end.

    Raises:
        ContestantError: it failed.
    """
    if drop:
        _drop_page_cache()
    started = {"STARTED_NS": str(time.monotonic_ns())}
    command = [sys.executable, "-m", "export.timing.first_answer", *way]
    done = subprocess.run(  # noqa: S603 - this project's own module
        command, cwd=ROOT, env={**variables, **started}, capture_output=True, text=True, errors="replace", check=False
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [""])[-1]
        raise ContestantError(f"ended with status {done.returncode}: {last}")
    run: Run = json.loads(done.stdout.splitlines()[-1])
    if "missing" in run:
        raise NotInstalled(run["missing"])
    return run


def _contestants(
    runs: Mapping[str, Mapping[str, list[Run]]], stopped: Mapping[str, ContestantError]
) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for name, by_state in runs.items():
        if name in stopped:
            status = "missing" if isinstance(stopped[name], NotInstalled) else "failed"
            found.append({"name": name, "status": status, "reason": str(stopped[name])})
            continue
        found.append(
            {
                "name": name,
                "status": "measured",
                "resident_mb": float(np.median([run["resident_mb"] for run in by_state[WARM]])),
                "peak_mb": float(np.median([run["peak_mb"] for run in by_state[WARM]])),
                "page_cache": {state: _figures(some) for state, some in by_state.items()},
            }
        )
    measured = [row for row in found if row["status"] == "measured"]
    for state in {state for row in measured for state in row["page_cache"]}:
        fastest = min(row["page_cache"][state]["total_ms"]["p50"] for row in measured)
        for row in measured:
            row["page_cache"][state]["ratio"] = row["page_cache"][state]["total_ms"]["p50"] / fastest
    return found


def _figures(runs: Sequence[Run]) -> dict[str, Any]:
    parts = [run["parts_ms"] for run in runs]
    return {
        "total_ms": _summary([sum(run.values()) for run in parts]),
        "parts_ms": {part: _summary([run[part] for run in parts]) for part in parts[0]},
    }


def _summary(values: Sequence[float]) -> dict[str, float]:
    return {
        "p50": float(np.percentile(values, 50)),
        "p90": float(np.percentile(values, 90)),
        "mean": float(np.mean(values)),
    }

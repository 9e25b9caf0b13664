"""Time fresh processes from their start to their first answer.

    python -m export benchmark --cold-start

Three runners take turns: this project's Lambda entry with a stored event of API Gateway, the least that can answer at
all (NumPy, ONNX Runtime, the same model), and the usual service (Flask, TensorFlow, Pillow). All are run with their
files in the page cache, and then with the page cache dropped, as on a new machine, where that is allowed.
"""

import dataclasses
import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from export.benchmark.baseline_network import prepare
from export.benchmark.child_process import ChildProcess
from export.benchmark.environment import environment, pinned
from export.benchmark.model_formats import KERAS
from export.benchmark.results import heading, stopped_rows
from export.benchmark.sample_request import IMAGE, write_event
from export.benchmark.samples import Samples
from export.benchmark.usage import tree_usage
from export.errors import RunnerError
from handler.contract import MODEL_FILE, load_bundle
from handler.scoring import identity

DROP_CACHES = Path("/proc/sys/vm/drop_caches")

LAMBDA = "this project's Lambda entry"
SESSION = "NumPy and ONNX Runtime alone"
BASELINE = "Flask and TensorFlow"

WARM, DROPPED = "warm", "dropped"

MEMORY = ("processes", "tree_pss_mb", "children_uss_mb", "resident_mb", "peak_mb")

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
    """Measure the three runners.

    Args:
        bundle: what the Lambda entry and the bare session load.
        out: the network is kept here between runs.
        network: a trained Keras network for the usual service; by default the baseline network with random weights.
        network_size: width and height of its images in pixels, if neither the network nor its run has them.
        threads: CPU cores that each runner may use.
        rounds: processes of each runner and state of the page cache.

    Returns:
        `date`, `machine`, `threads`, `model` with its `name`, `version` and `sha256`, `rounds`, `notes`, and `runners`,
        each with `name`, `status` (measured, missing or failed), and `reason` or its figures. Memory is in MB and
        measured after the answer, with a warm page cache: `processes`, `tree_pss_mb`, `children_uss_mb` and
        `resident_mb` as in `export.benchmark.usage.Usage`, and `peak_mb` of the first process. `page_cache` has by its
        state (warm, dropped) `total` and `parts` by part, each a summary of `export.benchmark.samples.Samples` (the
        means of the parts sum to that of the total); `cpu_ms` and `children_cpu_ms` as in `Usage`, each with `p50` and
        `mean`; the `ratio` of the medians to the fastest, with `value`, `low` and `high`; and `samples` of the total.

    Raises:
        BundleError: see `handler.errors`.
        RunError: see `export.benchmark.baseline_network.prepare`.
    """
    contract, _ = load_bundle(bundle)
    baseline = prepare(out, network, network_size, None, [KERAS])
    dropping = _drop_page_cache()
    states = [WARM, DROPPED] if dropping else [WARM]
    names = (LAMBDA, SESSION, BASELINE)
    runs: dict[str, dict[str, list[Run]]] = {name: {state: [] for state in states} for name in names}
    stopped: dict[str, RunnerError] = {BASELINE: baseline.failures[KERAS]} if KERAS in baseline.failures else {}
    with tempfile.TemporaryDirectory() as folder, pinned(threads):
        services = {
            LAMBDA: ["lambda", str(write_event(Path(folder)))],
            SESSION: ["session", str((bundle / MODEL_FILE).resolve())],
            BASELINE: ["baseline", str(baseline.file(KERAS).resolve()), str(baseline.size), str(IMAGE)],
        }
        variables = environment(threads) | {"MODEL_BUNDLE": str(bundle.resolve())}
        # The first round compiles what is not byte-compiled yet and fills the page cache; it does not count. Nothing is
        # dropped before the last warm round, because the next process would have to read its files again.
        turns = [None, *(state for state in states for _ in range(rounds))]
        for state in tqdm(turns, desc="rounds", leave=False):
            for name in [name for name in services if name not in stopped]:
                try:
                    run = _run(services[name], variables, drop=state == DROPPED)
                except RunnerError as exc:
                    stopped[name] = exc
                    continue
                if state:
                    runs[name][state].append(run)
    notes = [
        "The Lambda entry builds its session in a thread while it imports, so the two are one part.",
        "CPU time and PSS are of all processes of a runner; the Lambda entry's children decode images.",
        "PSS is lower while other programs use the same libraries.",
    ]
    if not dropping:
        notes.append(f"The page cache stayed warm: {DROP_CACHES} is not writable here; run as root on Linux.")
    measured = {name: by_state for name, by_state in runs.items() if name not in stopped}
    return heading(threads) | {
        "model": identity(contract),
        "rounds": rounds,
        "notes": notes,
        "runners": [*_rows(measured), *stopped_rows(stopped)],
    }


def _drop_page_cache() -> bool:
    """Whether the system dropped all files that it held in memory."""
    if not DROP_CACHES.exists():
        return False
    os.sync()  # what is not written yet cannot be dropped
    try:
        DROP_CACHES.write_text("3\n")
    except OSError:
        return False
    return True


def _run(service: Sequence[str], variables: Mapping[str, str], *, drop: bool) -> Run:
    """Run one process to its end; the fields of its answer and of its `Usage`.

    Raises:
        RunnerError: it failed.
    """
    if drop:
        _drop_page_cache()
    started = {"STARTED_NS": str(time.monotonic_ns())}
    process = ChildProcess("export.benchmark.first_answer", service, {**variables, **started})
    try:
        answer = process.receive()
        usage = tree_usage(process.pid)
        process.finish()
    finally:
        process.close()
    # The process reported its peak before it began to wait, which can take a page more.
    return answer | dataclasses.asdict(usage) | {"peak_mb": max(answer["peak_mb"], usage.resident_mb)}


def _rows(runs: Mapping[str, Mapping[str, Sequence[Run]]]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = [
        {
            "name": name,
            "status": "measured",
            **{field: _median([run[field] for run in by_state[WARM]]) for field in MEMORY},
            "page_cache": {state: _times(some) for state, some in by_state.items()},
        }
        for name, by_state in runs.items()
    ]
    for state in {state for row in rows for state in row["page_cache"]}:
        totals = {name: _total(by_state[state]) for name, by_state in runs.items()}
        fastest = min(totals.values(), key=lambda total: total.percentile(50))
        for row in rows:
            row["page_cache"][state]["ratio"] = totals[row["name"]].ratio(fastest)._asdict()
    return rows


def _median(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.median(known)) if known else None


def _total(runs: Sequence[Run]) -> Samples:
    return Samples.split([sum(run["parts_ms"].values()) for run in runs])


def _times(runs: Sequence[Run]) -> dict[str, Any]:
    total, parts = _total(runs), [run["parts_ms"] for run in runs]
    return {
        "total": total.summary(),
        "parts": {part: Samples.split([run[part] for run in parts]).summary() for part in parts[0]},
        "cpu_ms": _central([run["cpu_ms"] for run in runs]),
        "children_cpu_ms": _central([run["children_cpu_ms"] for run in runs]),
        "samples": total.to_json(),
    }


def _central(values: Sequence[float]) -> dict[str, float]:
    return {"p50": float(np.median(values)), "mean": float(np.mean(values))}

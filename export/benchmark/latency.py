"""Measure latency in every runtime, by the rules of `export.benchmark.rules`.

    python -m export benchmark
    python -m export benchmark --network runs/vgg19 --data chest_xray
    python -m export benchmark --onnx model.onnx

Every runner runs in a separate process (`export.benchmark.runner_process`), on the same cores and with the same number
of threads.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from export.benchmark.accuracy import Evaluation, evaluate, require_agreement
from export.benchmark.comparisons import Comparison
from export.benchmark.int8_roofline import kernels, roofline, share, work_of
from export.benchmark.results import heading, stopped_rows
from export.benchmark.rules import Rules
from export.benchmark.runner_pool import Runner, RunnerPool
from export.benchmark.timing import Timing, take_turns
from export.errors import RunnerError
from training.dataset import DataSet
from training.prepare import Prepared

FLOAT_SHARE = 0.99
"""The part of the accuracy of float32 that MLPerf Inference asks of most models."""

Result = dict[str, Any]


def measure_latency(
    comparisons: Sequence[Comparison],
    out: Path,
    *,
    reference: str | None,
    data: Prepared | DataSet | None = None,
    data_name: str | None = None,
    threads: int = 1,
    rules: Rules | None = None,
) -> Result:
    """Measure everything that is installed.

    Args:
        comparisons: of different networks.
        out: the graphs of the kernels are kept here.
        reference: key of the runner to which ratios are computed.
        data: labelled images to measure accuracy and AUC on, see `training.images.read_labelled`.
        data_name: of the result.
        threads: of each runner, and CPU cores that it may use.

    Returns:
        These fields, which stay the same from version to version:

        - `date` (UTC, ISO 8601), `machine` (see `export.benchmark.machine`), `threads`
        - `rules`: see `export.benchmark.rules.Rules.report`
        - `int8_roofline_gmacs_per_second` and `int8_roofline_runner`, what reached it; both None if nothing was counted
        - `reference`: key of the runner to which ratios are computed, or None
        - `data`: None, or `name` and number of `images`
        - `networks`: see `export.benchmark.comparisons.Comparison.about`, in the order of the tables
        - `runners`: by network, fastest first, then those that did not run. Each has `network`, `name`, `status`
          (measured, missing or failed), and `reason` or:

          - `model`, `version`: of the model; the version is None if it has none
          - `latency`: see `export.benchmark.samples.Samples.summary`, of a query of `rules.batch` images
          - `preprocess`, `end_to_end`: the same, of the sample image; None if the model takes no images
          - `ratio`: `value`, `low` and `high`: median latency over that of the reference, with its interval; or None
          - `images_per_second`: at the median
          - `accuracy`, `auc`: 0..1 or None; `float32_accuracy_kept`: whether accuracy is at least 99 % of that of the
            same network in float32, or None
          - `peak_mb`, `model_mb`: memory of the process after its first inferences, and size of the model's file
          - `gmacs` of a query, `share_of_roofline` (0..1), `precision` (what the runtime chose); or None
          - `samples`: `latency`, `preprocess` and `end_to_end`, each `{"turns_us": [[integers]]}` or None

    Raises:
        DataError: a model has other classes than `data`.
        KeyboardInterrupt: before the first turn was complete. Later, the completed turns are the result.
    """
    rules = rules or Rules()
    runners = [runner for comparison in comparisons for runner in comparison.runners]
    if data:
        require_agreement(runners, data)
    peaks = kernels(out / "roofline")
    with RunnerPool([*peaks, *runners], threads) as pool:
        described = pool.ask_each(do="describe")
        pool.ask_each(do="time", batch=rules.batch, warm_up=1, queries=1, seconds=0)
        memory = pool.ask_each(do="memory")
        evaluation = evaluate(pool, runners, data) if data else Evaluation({}, {}, 0)
        images = [runner.key for runner in runners if not runner.inputs]
        timing = take_turns(pool, rules, images, [runner.key for runner in peaks])
    stopped = pool.stopped
    peak = roofline([*peaks, *runners], timing.latency, rules.batch)
    measured = [runner for runner in runners if runner.key in timing.latency]
    rows = {
        runner.key: _row(runner, timing, rules.batch, reference, peak[0] if peak else None)
        | {
            "accuracy": evaluation.accuracy.get(runner.key),
            "auc": evaluation.auc.get(runner.key),
            "float32_accuracy_kept": None,
            "peak_mb": memory[runner.key]["peak_mb"],
            "precision": described[runner.key]["precision"],
        }
        for runner in measured
    }
    return heading(threads) | {
        "rules": rules.report([timing.latency[runner.key] for runner in measured], timing.turns),
        "int8_roofline_gmacs_per_second": peak[0] / 1e9 if peak else None,
        "int8_roofline_runner": peak[1] if peak else None,
        "reference": reference if reference in rows else None,
        "data": {"name": data_name, "images": evaluation.images} if data else None,
        "networks": [comparison.about() for comparison in comparisons],
        "runners": [row for comparison in comparisons for row in _of_network(comparison, rows, stopped)],
    }


def _row(runner: Runner, timing: Timing, batch: int, reference: str | None, peak: float | None) -> Result:
    latency = timing.latency[runner.key]
    parts = {
        "latency": latency,
        "preprocess": timing.preprocess.get(runner.key),
        "end_to_end": timing.end_to_end.get(runner.key),
    }
    other = timing.latency.get(reference) if reference else None
    return {
        "network": runner.network,
        "name": runner.name,
        "status": "measured",
        "model": runner.model,
        "version": runner.version,
        **{part: found.summary() if found else None for part, found in parts.items()},
        "ratio": latency.ratio(other)._asdict() if other else None,
        "images_per_second": batch / max(latency.percentile(50), 1e-3) * 1e3,
        "model_mb": runner.model_mb,
        "gmacs": work / 1e9 if (work := work_of(runner, batch)) else None,
        "share_of_roofline": share(runner, latency, batch, peak),
        "samples": {part: found.to_json() if found else None for part, found in parts.items()},
    }


def _of_network(comparison: Comparison, rows: Mapping[str, Result], stopped: Mapping[str, RunnerError]) -> list[Result]:
    """The rows of a network, fastest first."""
    own = [rows[runner.key] for runner in comparison.runners if runner.key in rows]
    exact = next((row for row in own if row["name"] == comparison.about()["float32"]), None)
    for row in own:
        # A bundle beside another network is not measured against its float32.
        if exact and exact["accuracy"] is not None and row["accuracy"] is not None and row["model"] == exact["model"]:
            row["float32_accuracy_kept"] = row["accuracy"] >= FLOAT_SHARE * exact["accuracy"]
    failures = comparison.failures | {
        runner.name: stopped[runner.key] for runner in comparison.runners if runner.key in stopped
    }
    return [
        *sorted(own, key=lambda row: row["latency"]["p50"]["ms"]),
        *({"network": comparison.network, **row} for row in stopped_rows(failures)),
    ]

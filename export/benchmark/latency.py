"""Measure the latency of bundles beside the usual ways to run a network.

    python -m export benchmark
    python -m export benchmark --network runs/vgg19/model.keras --data chest_xray

Every runner is a process of its own (`export.benchmark.runner_process`) on the same cores with the same number of
threads. The runners take turns, so that changes of the clock rate and other programs affect all alike.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from export.benchmark.accuracy import Evaluation, evaluate, require_agreement
from export.benchmark.baseline_network import Network, prepare
from export.benchmark.int8_roofline import write_roofline_models
from export.benchmark.macs import macs
from export.benchmark.model_formats import DYNAMIC_ONNX, FLOAT_LITERT, FLOAT_ONNX, INT8_LITERT, KERAS, STATIC_ONNX
from export.benchmark.results import heading, stopped_rows
from export.benchmark.runner_pool import Runner, RunnerPool
from export.errors import RunnerError
from handler.contract import load_bundle
from training.dataset import AS_IT_IS, Reading
from training.images import open_data

LARGE_BATCHES = (8, 32)
RUNS = 4
"""Timed inferences in a turn at batch 1. Larger batches have one, because each averages over its images."""

WARM_UP = 1
"""Inferences before them that are not timed: the CPU's caches still hold what the runner before left there."""

LARGE_BATCH_ROUNDS = 3
"""At most."""

OTHER_RUNTIMES = (
    ("Keras predict", "keras", KERAS),
    ("tf.function", "tf-function", KERAS),
    ("LiteRT float32", "litert", FLOAT_LITERT),
    ("LiteRT int8", "litert", INT8_LITERT),
    ("OpenVINO float32", "openvino", FLOAT_ONNX),
    ("OpenVINO int8", "openvino", STATIC_ONNX),
    ("ONNX Runtime float32", "onnxruntime", FLOAT_ONNX),
    ("ONNX Runtime dynamic int8", "onnxruntime", DYNAMIC_ONNX),
    ("ONNX Runtime static int8", "onnxruntime", STATIC_ONNX),
)
"""Name of the runner, runtime of `export.benchmark.runtimes`, and model format."""

Figures = dict[str, Any]


def measure_latency(
    bundles: Sequence[Path],
    out: Path,
    *,
    network: Path | None = None,
    network_size: int | None = None,
    data: Path | None = None,
    calibration: Path | None = None,
    reading: Reading = AS_IT_IS,
    threads: int = 1,
    rounds: int = 50,
) -> dict[str, Any]:
    """Measure everything that is installed.

    Args:
        bundles: folders with `model.onnx` and `model.json`.
        out: the network's model formats are kept here between runs.
        network: a trained Keras network for the other runtimes; by default the baseline network with random weights.
        network_size: width and height of its images in pixels, if neither the network nor its run has them.
        data: a data set or a prepared folder to measure accuracy and AUC on, see `training.images.read_labelled`.
        calibration: the same, to calibrate the network's int8; by default `data`, without its labels.
        reading: how to read the data sets.
        threads: of each runner, and CPU cores that it may use.
        rounds: turns of each runner at batch 1.

    Returns:
        `date`, `machine`, `threads`, `rounds`, `int8_roofline_gmacs_per_second`, `network`, `data`, and `runners`,
        fastest first, each with `name`, `status` (measured, missing or failed), and `reason` or its figures: `p50_ms`,
        `p90_ms`, `p99_ms`, `images_per_second` by batch size, `peak_mb` of memory at batch 1 and `peak_mb_all_batches`,
        `model_mb`, `gmacs`, `share_of_roofline` (0..1), `accuracy` and `auc` (0..1 or None), `precision`.

    Raises:
        BundleError: see `handler.errors`.
        RunError: see `export.benchmark.baseline_network.prepare`.
        DataError, FolderError: see `training.images.open_data`; or a model has other classes than `data`.
    """
    runners = _bundles(bundles)
    labelled = open_data(data, reading) if data else None
    calibrated_on = (calibration or data) if network else None
    prepared = prepare(out, network, network_size, open_data(calibrated_on, reading) if calibrated_on else None)
    runners += _other_runtimes(prepared)
    if labelled:
        require_agreement(runners, labelled)
    roofline_runners = [
        Runner(name=name, runtime="roofline", file=path, macs=macs(onnx.load(path)))
        for name, path in write_roofline_models(out / "roofline").items()
    ]
    with RunnerPool([*roofline_runners, *runners], threads) as pool:
        figures, roofline = _time(pool, runners, roofline_runners, rounds)
        evaluation = evaluate(pool, runners, labelled) if labelled else Evaluation({}, {}, 0)
        stopped = _not_made(prepared) | pool.stopped
    ranking = sorted(pool.running, key=lambda name: figures[name]["p50_ms"])
    return heading(threads, rounds) | {
        "int8_roofline_gmacs_per_second": roofline / 1e9 if roofline else None,
        "network": {"name": prepared.name, "size": prepared.size, "int8_calibrated_on": _short_name(calibrated_on)},
        "data": {"name": _short_name(data), "images": evaluation.images} if data else None,
        "runners": [
            *(
                {
                    "name": name,
                    "status": "measured",
                    **figures[name],
                    "accuracy": evaluation.accuracy.get(name),
                    "auc": evaluation.auc.get(name),
                    "share_of_roofline": _share_of_roofline(figures[name], roofline),
                }
                for name in ranking
            ),
            *stopped_rows(stopped),
        ],
    }


def _bundles(folders: Sequence[Path]) -> list[Runner]:
    runners = []
    for folder in folders:
        contract, weights = load_bundle(folder)
        name = f"{contract.name} {contract.version}"
        runners.append(
            Runner(
                name=name if len(folders) == 1 else f"{name} ({folder})",
                runtime="bundle",
                file=folder,
                size=contract.input_size,
                macs=macs(onnx.load_from_string(weights), [contract.output_name, contract.distance_name]),
                trained=True,
                labels=contract.labels,
                threshold=contract.threshold,
            )
        )
    return runners


def _other_runtimes(network: Network) -> list[Runner]:
    """The runners whose model format could be made."""
    arithmetic = None if FLOAT_ONNX in network.failures else macs(onnx.load(network.file(FLOAT_ONNX)))
    return [
        Runner(
            name=name,
            runtime=runtime,
            file=network.file(model_format),
            size=network.size,
            channels=network.channels,
            macs=arithmetic,
            trained=network.trained,
            labels=network.labels,
            threshold=network.threshold,
        )
        for name, runtime, model_format in OTHER_RUNTIMES
        if model_format not in network.failures
    ]


def _not_made(network: Network) -> dict[str, RunnerError]:
    return {
        name: network.failures[model_format]
        for name, _, model_format in OTHER_RUNTIMES
        if model_format in network.failures
    }


def _time(
    pool: RunnerPool, runners: Sequence[Runner], roofline_runners: Sequence[Runner], rounds: int
) -> tuple[dict[str, Figures], float | None]:
    """The figures of the runners that work, and the int8 roofline in multiply-accumulates per second."""
    figures: dict[str, Figures] = {}
    described = pool.ask_each(do="describe")
    times = pool.time(1, rounds, RUNS, WARM_UP)
    roofline = _roofline(roofline_runners, times)
    for runner in roofline_runners:
        pool.dismiss(runner.name)
    memory = pool.ask_each(do="memory")
    for runner in runners:
        if runner.name not in memory:
            continue
        p50, p90, p99 = np.percentile(times[runner.name], (50, 90, 99)).tolist()
        figures[runner.name] = {
            "p50_ms": p50,
            "p90_ms": p90,
            "p99_ms": p99,
            "images_per_second": {"1": 1e3 / p50},
            "peak_mb": memory[runner.name]["peak_mb"],
            "model_mb": runner.model_mb,
            "gmacs": runner.macs / 1e9 if runner.macs else None,
            "precision": described[runner.name]["precision"],
        }
    for batch in LARGE_BATCHES:
        for name, found in pool.time(batch, min(rounds, LARGE_BATCH_ROUNDS), runs=1, warm_up=0).items():
            figures[name]["images_per_second"][str(batch)] = batch / float(np.median(found)) * 1e3
    for name, answer in pool.ask_each(do="memory").items():
        figures[name]["peak_mb_all_batches"] = answer["peak_mb"]
    return figures, roofline


def _roofline(runners: Sequence[Runner], times: Mapping[str, Sequence[float]]) -> float | None:
    rates = [r.macs / min(times[r.name]) * 1e3 for r in runners if r.macs and r.name in times]
    return max(rates, default=None)


def _share_of_roofline(figures: Figures, roofline: float | None) -> float | None:
    if not roofline or not figures["gmacs"]:
        return None
    return float(figures["gmacs"] * 1e12 / figures["p50_ms"] / roofline)


def _short_name(folder: Path | None) -> str | None:
    """A folder's name and its parent's: a full path could tell private names."""
    return f"{folder.resolve().parent.name}/{folder.resolve().name}" if folder else None

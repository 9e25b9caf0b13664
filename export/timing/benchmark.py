"""Time bundles and the usual ways to run a network side by side in one run.

    python -m export benchmark
    python -m export benchmark --network runs/vgg19/model.keras --calibration chest_xray/train --data chest_xray/test

Every contestant is a process of its own (`export.timing.contestant`) on the same cores with the same number of
threads. They take turns, so that a drifting clock or a busy neighbour hits all alike.
"""

import datetime
import logging
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from sklearn.metrics import roc_auc_score
from tqdm import tqdm

from export.errors import ContestantError, NotInstalled
from export.run import Pictures
from export.timing.machine import describe
from export.timing.macs import macs
from export.timing.peak import write_probes
from export.timing.seed_network import (
    DYNAMIC_ONNX,
    FLOAT_LITERT,
    FLOAT_ONNX,
    INT8_LITERT,
    KERAS,
    STATIC_ONNX,
    Network,
    prepare,
)
from export.timing.worker import Contestant, Field
from handler.contract import load_bundle
from handler.errors import InputError
from handler.files import labelled_files
from handler.imaging.decode import decode

log = logging.getLogger(__name__)

LARGE_BATCHES = (8, 32)
RUNS = 4
"""Timed inferences in a turn at batch 1; larger batches, which average over their pictures, have one."""

UNTIMED = 1
"""Inferences before them: the caches still hold what the contestant before left there."""

LARGE_BATCH_ROUNDS = 3
"""At most."""

PEERS = (
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
"""Name, runner of `export.timing.contestant`, and the form of the network that it runs."""

Figures = dict[str, Any]


def benchmark(
    bundles: Sequence[Path],
    out: Path,
    *,
    network: Path | None = None,
    network_size: int | None = None,
    data: Path | None = None,
    calibration: Path | None = None,
    threads: int = 1,
    rounds: int = 50,
) -> dict[str, Any]:
    """Measure everything that is installed.

    Args:
        bundles: folders with `model.onnx` and `model.json`.
        out: the forms of the network are kept here between runs.
        network: a trained Keras network for the peers to run; otherwise the seed's with random weights.
        network_size: width and height of its pictures, where nothing else tells.
        data: folder with `NORMAL/` and `PNEUMONIA/` to measure accuracy and AUC on.
        calibration: likewise, to calibrate the peers' int8 on; by default `data`, whose labels are not looked at.
        threads: of each contestant, and cores that it is held to.
        rounds: turns of each contestant at batch 1.

    Returns:
        `date`, `machine`, `threads`, `rounds`, `int8_peak_gmacs_per_second`, `network`, `data`, and `contestants`,
        fastest first, each with `name`, `status` (measured, missing or failed), and `reason` or its figures: `p50_ms`,
        `p90_ms`, `p99_ms`, `images_per_second` by batch size, `peak_mb` of memory at batch 1 and `peak_mb_all_batches`,
        `model_mb`, `gmacs`, `share_of_peak` (0..1), `accuracy` and `auc` (0..1 or None), `precision`.

    Raises:
        BundleError: see `handler.errors`.
        RunError: see `export.timing.seed_network.prepare`.
        FolderError: there are no pictures in `data` or `calibration`.
    """
    entries = _bundles(bundles)
    calibrated_on = (calibration or data) if network else None
    prepared = prepare(out, network, network_size, calibrated_on)
    entries += _peers(prepared)
    probes = [
        Contestant(name=name, runner="probe", file=path, macs=macs(onnx.load(path)))
        for name, path in write_probes(out / "probes").items()
    ]
    with Field([*probes, *entries], threads) as field:
        figures, peak = _time(field, entries, probes, rounds)
        pictures = _judge(field, entries, data, figures) if data else 0
        stopped = _absent(prepared) | field.stopped
    ranking = sorted(field.running, key=lambda name: figures[name]["p50_ms"])
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": describe(),
        "threads": threads,
        "rounds": rounds,
        "int8_peak_gmacs_per_second": peak / 1e9 if peak else None,
        "network": {"name": prepared.name, "size": prepared.size, "int8_calibrated_on": _named(calibrated_on)},
        "data": {"name": _named(data), "pictures": pictures} if data else None,
        "contestants": [
            *({"name": name, "status": "measured"} | _share(figures[name], peak) for name in ranking),
            *(
                {
                    "name": name,
                    "status": "missing" if isinstance(reason, NotInstalled) else "failed",
                    "reason": str(reason),
                }
                for name, reason in stopped.items()
            ),
        ],
    }


def _bundles(folders: Sequence[Path]) -> list[Contestant]:
    found = []
    for folder in folders:
        contract, weights = load_bundle(folder)
        name = f"{contract.name} {contract.version}"
        found.append(
            Contestant(
                name=name if len(folders) == 1 else f"{name} ({folder})",
                runner="bundle",
                file=folder,
                size=contract.input_size,
                macs=macs(onnx.load_from_string(weights), [contract.output_name, contract.distance_name]),
                threshold=contract.threshold,
            )
        )
    return found


def _peers(network: Network) -> list[Contestant]:
    """Those whose form of the network could be made."""
    arithmetic = None if FLOAT_ONNX in network.failures else macs(onnx.load(network.file(FLOAT_ONNX)))
    return [
        Contestant(
            name=name,
            runner=runner,
            file=network.file(form),
            size=network.size,
            channels=network.channels,
            macs=arithmetic,
            threshold=network.threshold if network.trained else None,
        )
        for name, runner, form in PEERS
        if form not in network.failures
    ]


def _absent(network: Network) -> dict[str, ContestantError]:
    return {name: network.failures[form] for name, _, form in PEERS if form in network.failures}


def _time(
    field: Field, entries: Sequence[Contestant], probes: Sequence[Contestant], rounds: int
) -> tuple[dict[str, Figures], float | None]:
    """The figures of those that last, and the most multiply-accumulates per second of any probe."""
    figures: dict[str, Figures] = {}
    ready = field.ask_each(do="describe")
    times = field.time(1, rounds, RUNS, UNTIMED)
    peak = max(
        (probe.macs / min(times[probe.name]) * 1e3 for probe in probes if probe.macs and probe.name in times),
        default=None,
    )
    for probe in probes:
        field.dismiss(probe.name)
    memory = field.ask_each(do="memory")
    for entry in entries:
        if entry.name not in memory:
            continue
        p50, p90, p99 = np.percentile(times[entry.name], (50, 90, 99)).tolist()
        figures[entry.name] = {
            "p50_ms": p50,
            "p90_ms": p90,
            "p99_ms": p99,
            "images_per_second": {"1": 1e3 / p50},
            "peak_mb": memory[entry.name]["peak_mb"],
            "model_mb": entry.megabytes,
            "gmacs": entry.macs / 1e9 if entry.macs else None,
            "accuracy": None,
            "auc": None,
            "precision": ready[entry.name]["precision"],
        }
    for batch in LARGE_BATCHES:
        for name, found in field.time(batch, min(rounds, LARGE_BATCH_ROUNDS), runs=1, untimed=0).items():
            figures[name]["images_per_second"][str(batch)] = batch / float(np.median(found)) * 1e3
    for name, answer in field.ask_each(do="memory").items():
        figures[name]["peak_mb_all_batches"] = answer["peak_mb"]
    return figures, peak


def _share(figures: Figures, peak: float | None) -> Figures:
    known = peak and figures["gmacs"]
    return figures | {"share_of_peak": figures["gmacs"] * 1e12 / figures["p50_ms"] / peak if known else None}


def _judge(field: Field, entries: Sequence[Contestant], data: Path, figures: dict[str, Figures]) -> int:
    """Put accuracy and AUC among the figures of those that are trained; returns the number of pictures."""
    judged = {entry.name: entry for entry in entries if entry.threshold is not None}
    by_size: dict[int, Pictures] = {size: _read(data, size) for size in sorted({e.size for e in judged.values()})}
    with tempfile.TemporaryDirectory() as folder:
        for size, pictures in by_size.items():
            np.save(Path(folder) / f"{size}.npy", pictures.pixels)
        bar = tqdm(judged.values(), desc="scoring", unit="contestant", leave=False)
        for entry in bar:
            answer = field.ask(entry.name, do="score", pixels=f"{folder}/{entry.size}.npy")
            if answer:
                labels, found = by_size[entry.size].labels, np.array(answer["probabilities"])
                figures[entry.name]["accuracy"] = float(((found >= entry.threshold) == labels).mean())
                figures[entry.name]["auc"] = float(roc_auc_score(labels, found))
    return max((len(pictures.labels) for pictures in by_size.values()), default=0)


def _read(data: Path, size: int) -> Pictures:
    """The pictures of a labelled folder; names those that cannot be read."""
    pixels, labels = [], []
    for path, label in tqdm(labelled_files(data), desc="reading", unit="picture", leave=False):
        try:
            pixels.append(decode(path.read_bytes(), size))
        except InputError as exc:
            log.warning("%s is left out: %s", path, exc)
        else:
            labels.append(label)
    return Pictures(np.stack(pixels), np.array(labels))


def _named(folder: Path | None) -> str | None:
    """A folder without what is above it, which is nobody's business in a report."""
    return f"{folder.resolve().parent.name}/{folder.resolve().name}" if folder else None

"""The conclusion of a training run: whether its network is better than chance, and the text at the end of commands.

Importing this module does not import Keras.
"""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from handler.commands import program
from handler.contract import CONTRACT_FILE
from training.run_folder import RunFolder, RunMetrics

FEW = 50
"""With fewer validation images of a class than this, the results are unreliable."""

WIDE = 0.1
"""With a wider interval of the AUC than this, the results are unreliable."""

_SHOWN = ("auc", "accuracy", "sensitivity", "specificity", "balanced_accuracy")


def after_prepare(report: Mapping[str, Any]) -> str:
    """The files that were left out, each with the reason, and the number of images by split and class.

    Args:
        report: see `training.prepare.prepare`.
    """
    counted = (
        f"{split:10} " + ", ".join(f"{count} {name}" for name, count in counts.items())
        for split, counts in report["counts"].items()
    )
    return "\n".join([*report["problems"], *counted])


def uselessness(
    intervals: Mapping[str, tuple[float, float]], decided: npt.NDArray[np.int64], names: Sequence[str]
) -> str:
    """Why a network is no better than chance; empty if it is better.

    Args:
        intervals: of the metrics on validation images, see `training.metrics.bootstrap`.
        decided: `[N]`, index of the predicted class of each validation image.
        names: of the classes.
    """
    low, high = intervals["auc"]
    if low <= 0.5:
        return f"the 95 % interval of its AUC, {low:.2f} to {high:.2f}, includes the AUC of chance, 0.5"
    if len(np.unique(decided)) == 1:
        return f"it classifies every validation image as {names[decided[0]]}"
    return ""


def conclude(run: RunFolder, data: Path) -> str:
    """Return the `conclusion`, and write it to the run's log."""
    text = conclusion(run, data)
    with run.log.open("a", encoding="utf-8") as file:
        file.write(f"{text}\n")
    return text


def conclusion(run: RunFolder, data: Path) -> str:
    """Return the results of a finished run, the folder that contains them, and the next commands.

    Args:
        data: the data that the run was trained on, for the commands.

    Raises:
        RunError: the run is not finished.
    """
    config, metrics = run.read_config(), run.read_metrics()
    counts = ", ".join(f"{count} {name}" for name, count in metrics.counts.items())
    lines = [
        f"on {sum(metrics.counts.values())} validation images ({counts}) of {metrics.patients} patients, with 95 % "
        "intervals by patient:",
        *(_line(name, metrics) for name in metrics.validation if _shown(name)),
        f"  {'AUC on corrupted copies':<28} {metrics.corrupted['auc']:.3f}",
        *_little(metrics),
    ]
    if metrics.useless:
        lines.append(f"this network is NO BETTER THAN CHANCE: {metrics.useless}; check the labels")
    path, source = shlex.quote(str(run.path)), shlex.quote(str(data))
    lines += [
        f"results: {run.model}, {run.curves.name}, {run.history.name} and {run.log.name} in {run.path}",
        "next:",
        f"  {program('training')} evaluate --model {path} --data {source}",
        f"  {program('export')} build --model {path} --data {source} --out {shlex.quote(f'bundles/{run.name}')}"
        + (" --force" if metrics.useless else ""),
    ]
    if len(config.labels) > 2:
        lines.insert(1, "  (AUC and similar metrics are means over the classes, each against the others)")
    return "\n".join(lines)


def after_evaluation(model: Path, out: Path) -> str:
    """Where the results of an evaluation are, and the next command.

    Args:
        model: what was evaluated: a bundle, a run folder or a file.
        out: folder of the results.
    """
    lines = [f"report and plots are in {out}"]
    evaluated, export = shlex.quote(str(model)), program("export")
    if (model / CONTRACT_FILE).exists():
        lines.append(f"next: {export} card {evaluated} --evaluation {shlex.quote(str(out / 'metrics.json'))}")
    elif model.is_dir():
        lines.append(f"next: {export} build --model {evaluated} --data DATA --out bundles/NAME")
    return "\n".join(lines)


def _shown(name: str) -> bool:
    return name in _SHOWN or name.startswith(("auc_", "sensitivity_"))


def _line(name: str, metrics: RunMetrics) -> str:
    low, high = metrics.intervals[name]
    title = name.replace("auc", "AUC").replace("_", " ", 1)
    return f"  {title:<28} {metrics.validation[name]:.3f} ({low:.3f} to {high:.3f})"


def _little(metrics: RunMetrics) -> list[str]:
    """Warn if the validation set is small."""
    name, count = min(metrics.counts.items(), key=lambda each: each[1])
    low, high = metrics.intervals["auc"]
    if count >= FEW and high - low <= WIDE:
        return []
    return [
        f"these results are unreliable: {count} validation images of {name}, and an AUC anywhere from "
        f"{low:.2f} to {high:.2f}; collect more images, or hold more of them out with --validation"
    ]

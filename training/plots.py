"""Plots of training, evaluation, robustness and explanations, as PNG files, without a display."""

import dataclasses
import itertools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import numpy.typing as npt
from sklearn.calibration import CalibrationDisplay
from sklearn.metrics import ConfusionMatrixDisplay, PrecisionRecallDisplay, RocCurveDisplay

from handler.calibration import ECE_BINS, ece_bins
from handler.contract import decide
from handler.files import write_atomically
from training.metrics import confusion, shares

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

Array = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]


def _save(figure: Figure, path: Path) -> None:
    write_atomically(path, lambda temporary: figure.savefig(temporary, dpi=120))
    plt.close(figure)


def plot_curves(history: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Plot training loss, validation log loss and validation AUC by epoch, with the image size above.

    Args:
        history: see `training.run_folder.RunState`.
    """
    figure, (losses, aucs) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    epochs = range(1, len(history) + 1)
    losses.plot(epochs, [row["loss"] for row in history], label="training loss")
    losses.plot(epochs, [row["validation_log_loss"] for row in history], label="validation log loss")
    losses.set(xlabel="epoch", ylabel="nats", ylim=(0, None))
    losses.legend()
    aucs.plot(epochs, [row["validation_auc"] for row in history], color="C1")
    aucs.set(xlabel="epoch", ylabel="validation AUC")
    for epoch, row in enumerate(history, 1):
        if epoch == 1 or (row["phase"], row["size"]) != (history[epoch - 2]["phase"], history[epoch - 2]["size"]):
            for axes in (losses, aucs):
                axes.axvline(epoch - 0.5, color="0.8", linewidth=1)
                axes.text(epoch - 0.4, 1.01, f"{row['size']} px", transform=axes.get_xaxis_transform(), fontsize=7)
    _save(figure, path)


def plot_robustness(result: Mapping[str, Mapping[str, float]], path: Path) -> None:
    """Plot sensitivity and specificity, or the sensitivities of more than two classes, with one row for each change of
    the images.

    Args:
        result: see `training.robustness.evaluate_robustness`.
    """
    figure, axes = plt.subplots(figsize=(8, 0.3 * len(result) + 1), layout="constrained")
    rows = range(len(result), 0, -1)
    for name, marker in zip(shares(next(iter(result.values()))), itertools.cycle("osD^v"), strict=False):
        axes.plot([metrics[name] for metrics in result.values()], rows, marker, label=name.replace("_", " "))
    axes.set_yticks(rows, list(result))
    axes.grid(axis="y", color="0.9")
    axes.set(xlabel="share of validation images that are classified correctly", xlim=(None, 1.005))
    axes.legend(loc="lower left")
    _save(figure, path)


def plot_explanations(curves: Mapping[str, Sequence[float]], path: Path) -> None:
    """Plot deletion and insertion curves, in the order of the map and in random order.

    Args:
        curves: see `training.explanations.evaluate_explanations`.
    """
    figure, both = plt.subplots(1, 2, figsize=(9, 4), sharey=True, layout="constrained")
    for axes, name, of in zip(both, ("deletion", "insertion"), ("blurred", "restored"), strict=True):
        axes.plot(curves["shares"], curves[name], "o-", label="highest values of the map first")
        axes.plot(curves["shares"], curves[f"random {name}"], "s--", color="0.5", label="random order")
        axes.set(title=name, xlabel=f"share of pixels that are {of}")
        axes.grid(color="0.9")
    both[0].set_ylabel("mean log odds of positive images")
    both[0].legend()
    _save(figure, path)


def plot_evaluation(
    probabilities: Array, labels: Labels, threshold: float | None, names: Sequence[str], folder: Path
) -> None:
    """Save ROC, precision-recall, reliability and confusion plots as four files in `folder`. With more than two classes
    there is one curve for each class, against all others.

    Args:
        probabilities: `[N, K]`, 0..1.
        labels: `[N]`, 0 to K - 1; all classes are present.
        threshold: see `handler.contract.decide`.
        names: `[K]` class names.
    """
    decided = decide(probabilities, threshold)
    rule = "most probable class" if threshold is None else f"threshold {threshold:.3f}"
    shown = [1] if len(names) == 2 else range(len(names))
    curves = [_Curve(names[k], probabilities[:, k], labels == k, decided == k) for k in shown]
    counts = confusion(probabilities, labels, threshold)
    drawings: dict[str, Callable[[Axes], None]] = {
        "roc": lambda axes: _roc(axes, curves, rule),
        "precision_recall": lambda axes: _precision_recall(axes, curves, rule),
        "reliability": lambda axes: _reliability(axes, curves),
        "confusion": lambda axes: _confusion(axes, counts, names),
    }
    for name, draw in drawings.items():
        figure, axes = plt.subplots(figsize=(5, 4.5), layout="constrained")
        draw(axes)
        _save(figure, folder / f"{name}.png")


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class _Curve:
    """One class against the rest."""

    name: str
    probabilities: Array
    truth: npt.NDArray[np.bool_]
    decided: npt.NDArray[np.bool_]


def _roc(axes: Axes, curves: Sequence[_Curve], rule: str) -> None:
    for curve in curves:
        RocCurveDisplay.from_predictions(curve.truth, curve.probabilities, ax=axes, name=curve.name)
        x, y = curve.decided[~curve.truth].mean(), curve.decided[curve.truth].mean()
        axes.plot(x, y, "o", color=axes.lines[-1].get_color(), label=rule if curve is curves[-1] else None)
    axes.plot([0, 1], [0, 1], "k--", linewidth=1, label="chance")
    axes.set(xlabel="1 - specificity", ylabel="sensitivity", title="Receiver operating characteristic")
    axes.legend(loc="lower right")


def _precision_recall(axes: Axes, curves: Sequence[_Curve], rule: str) -> None:
    for curve in curves:
        PrecisionRecallDisplay.from_predictions(curve.truth, curve.probabilities, ax=axes, name=curve.name)
        if curve.decided.any():
            x, y = curve.decided[curve.truth].mean(), curve.truth[curve.decided].mean()
            axes.plot(x, y, "o", color=axes.lines[-1].get_color(), label=rule if curve is curves[-1] else None)
    axes.set(xlabel="sensitivity (recall)", ylabel="precision", title="Precision and recall")
    axes.legend(loc="lower left")


def _reliability(axes: Axes, curves: Sequence[_Curve]) -> None:
    for curve in curves:
        bins = ece_bins(curve.probabilities)
        filled = [b for b in range(ECE_BINS) if (bins == b).any()]
        predicted = np.array([curve.probabilities[bins == b].mean() for b in filled])
        observed = np.array([curve.truth[bins == b].mean() for b in filled])
        display = CalibrationDisplay(observed, predicted, curve.probabilities)  # in the bins of the calibration error
        display.plot(ax=axes, name=curve.name, ref_line=curve is curves[0])
        for b, x, y in zip(filled, predicted, observed, strict=True):
            axes.annotate(str(int((bins == b).sum())), (x, y), textcoords="offset points", xytext=(4, -10), fontsize=7)
    axes.set(xlabel="predicted probability", ylabel="observed share", title="Reliability (images per bin)")


def _confusion(axes: Axes, counts: list[list[int]], names: Sequence[str]) -> None:
    display = ConfusionMatrixDisplay(np.array(counts), display_labels=names)
    display.plot(ax=axes, cmap="Blues", colorbar=False, values_format="d")
    axes.set(title="Confusion")

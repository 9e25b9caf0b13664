"""What people would rather see than read. All plots are PNG, drawn without a screen."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import numpy.typing as npt
from sklearn.metrics import precision_recall_curve, roc_curve

from handler.contract import LABELS
from handler.files import write_atomically
from training.metrics import ECE_BINS, confusion, ece_bins

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
    """Training loss and validation log loss, and validation AUC, by epoch; the picture size is written above."""
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


def plot_audit(result: Mapping[str, Mapping[str, float]], path: Path) -> None:
    """Sensitivity and specificity under every change of the pictures, one row each."""
    figure, axes = plt.subplots(figsize=(8, 0.3 * len(result) + 1), layout="constrained")
    rows = range(len(result), 0, -1)
    for name, marker in (("sensitivity", "o"), ("specificity", "s")):
        axes.plot([metrics[name] for metrics in result.values()], rows, marker, label=name)
    axes.set_yticks(rows, list(result))
    axes.grid(axis="y", color="0.9")
    axes.set(xlabel="share of validation pictures that are called right", xlim=(None, 1.005))
    axes.legend(loc="lower left")
    _save(figure, path)


def plot_evaluation(probabilities: Array, labels: Labels, threshold: float, folder: Path) -> None:
    """ROC, precision-recall, reliability and confusion plots as four files."""
    drawings = {
        "roc": _roc,
        "precision_recall": _precision_recall,
        "reliability": _reliability,
        "confusion": _confusion,
    }
    for name, draw in drawings.items():
        figure, axes = plt.subplots(figsize=(5, 4.5), layout="constrained")
        draw(axes, probabilities, labels, threshold)
        _save(figure, folder / f"{name}.png")


def _roc(axes: Axes, probabilities: Array, labels: Labels, threshold: float) -> None:
    false_rate, true_rate, _ = roc_curve(labels, probabilities)
    axes.plot(false_rate, true_rate)
    axes.plot([0, 1], [0, 1], color="0.8", linewidth=1)
    called = probabilities >= threshold
    axes.plot(called[labels == 0].mean(), called[labels == 1].mean(), "o", label=f"threshold {threshold:.3f}")
    axes.set(xlabel="1 - specificity", ylabel="sensitivity", title="Receiver operating characteristic")
    axes.legend(loc="lower right")


def _precision_recall(axes: Axes, probabilities: Array, labels: Labels, threshold: float) -> None:
    precision, recall, _ = precision_recall_curve(labels, probabilities)
    axes.plot(recall, precision)
    called = probabilities >= threshold
    if called.any():
        axes.plot(called[labels == 1].mean(), labels[called].mean(), "o", label=f"threshold {threshold:.3f}")
        axes.legend(loc="lower left")
    axes.set(xlabel="sensitivity (recall)", ylabel="precision", title="Precision and recall")


def _reliability(axes: Axes, probabilities: Array, labels: Labels, threshold: float) -> None:
    bins = ece_bins(probabilities)
    filled = [b for b in range(ECE_BINS) if (bins == b).any()]
    said = [probabilities[bins == b].mean() for b in filled]
    seen = [labels[bins == b].mean() for b in filled]
    axes.plot([0, 1], [0, 1], color="0.8", linewidth=1)
    axes.plot(said, seen, "o-")
    for b, x, y in zip(filled, said, seen, strict=True):
        axes.annotate(str(int((bins == b).sum())), (x, y), textcoords="offset points", xytext=(4, -10), fontsize=7)
    axes.axvline(threshold, color="C1", linewidth=1, linestyle=":")
    axes.set(xlabel="predicted probability", ylabel=f"share with {LABELS[-1]}", title="Reliability (pictures per bin)")


def _confusion(axes: Axes, probabilities: Array, labels: Labels, threshold: float) -> None:
    counts = np.array(confusion(probabilities, labels, threshold))
    axes.imshow(counts, cmap="Blues")
    for row in (0, 1):
        for column in (0, 1):
            colour = "white" if counts[row, column] > counts.max() / 2 else "black"
            axes.text(column, row, str(counts[row, column]), ha="center", va="center", color=colour, fontsize=16)
    axes.set(xlabel="predicted", ylabel="true", title="Confusion", xticks=[0, 1], yticks=[0, 1])
    axes.set_xticklabels(LABELS)
    axes.set_yticklabels(LABELS, rotation=90, va="center")

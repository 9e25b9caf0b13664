"""Plots of training, evaluation, robustness and explanations, as PNG files; no screen is needed."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import numpy.typing as npt
from sklearn.calibration import CalibrationDisplay
from sklearn.metrics import ConfusionMatrixDisplay, PrecisionRecallDisplay, RocCurveDisplay

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
    """Training loss and validation log loss, and validation AUC, by epoch; the image size is written above.

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
    """Sensitivity and specificity under each change of the images, one row each.

    Args:
        result: see `training.robustness.evaluate_robustness`.
    """
    figure, axes = plt.subplots(figsize=(8, 0.3 * len(result) + 1), layout="constrained")
    rows = range(len(result), 0, -1)
    for name, marker in (("sensitivity", "o"), ("specificity", "s")):
        axes.plot([metrics[name] for metrics in result.values()], rows, marker, label=name)
    axes.set_yticks(rows, list(result))
    axes.grid(axis="y", color="0.9")
    axes.set(xlabel="share of validation images that are classified correctly", xlim=(None, 1.005))
    axes.legend(loc="lower left")
    _save(figure, path)


def plot_explanations(curves: Mapping[str, Sequence[float]], path: Path) -> None:
    """Deletion and insertion curves, by the map and in random order.

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


def plot_evaluation(probabilities: Array, labels: Labels, threshold: float, folder: Path) -> None:
    """ROC, precision-recall, reliability and confusion plots: four files in `folder`.

    Args:
        probabilities: `[N]` of the positive class, 0..1.
        labels: `[N]`, 1 for positive; both classes present.
        threshold: an image is called positive from this probability on.
    """
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
    RocCurveDisplay.from_predictions(labels, probabilities, ax=axes, plot_chance_level=True)
    called = probabilities >= threshold
    axes.plot(called[labels == 0].mean(), called[labels == 1].mean(), "o", label=f"threshold {threshold:.3f}")
    axes.set(xlabel="1 - specificity", ylabel="sensitivity", title="Receiver operating characteristic")
    axes.legend(loc="lower right")


def _precision_recall(axes: Axes, probabilities: Array, labels: Labels, threshold: float) -> None:
    PrecisionRecallDisplay.from_predictions(labels, probabilities, ax=axes)
    called = probabilities >= threshold
    if called.any():
        axes.plot(called[labels == 1].mean(), labels[called].mean(), "o", label=f"threshold {threshold:.3f}")
    axes.set(xlabel="sensitivity (recall)", ylabel="precision", title="Precision and recall")
    axes.legend(loc="lower left")


def _reliability(axes: Axes, probabilities: Array, labels: Labels, threshold: float) -> None:
    bins = ece_bins(probabilities)
    filled = [b for b in range(ECE_BINS) if (bins == b).any()]
    predicted = np.array([probabilities[bins == b].mean() for b in filled])
    observed = np.array([labels[bins == b].mean() for b in filled])
    CalibrationDisplay(observed, predicted, probabilities).plot(ax=axes)  # in the bins of the calibration error
    for b, x, y in zip(filled, predicted, observed, strict=True):
        axes.annotate(str(int((bins == b).sum())), (x, y), textcoords="offset points", xytext=(4, -10), fontsize=7)
    axes.axvline(threshold, color="C1", linewidth=1, linestyle=":")
    axes.set(xlabel="predicted probability", ylabel=f"share with {LABELS[-1]}", title="Reliability (images per bin)")


def _confusion(axes: Axes, probabilities: Array, labels: Labels, threshold: float) -> None:
    counts = np.array(confusion(probabilities, labels, threshold))
    ConfusionMatrixDisplay(counts, display_labels=LABELS).plot(ax=axes, cmap="Blues", colorbar=False, values_format="d")
    axes.set(title="Confusion")

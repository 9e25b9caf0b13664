"""Fit a calibration on labelled images of a hospital: the command `python -m handler calibrate`."""

import sys
from pathlib import Path
from time import monotonic

import numpy as np

from handler.classifier import Classifier
from handler.contract import Contract
from handler.errors import FolderError, InputError
from handler.files import read
from handler.local_calibration import LocalCalibration, fit_local
from handler.scoring import Decode


def calibrate_folder(
    folder: Path, classifier: Classifier, decode: Decode, *, coverage: float, sensitivity: float
) -> tuple[LocalCalibration, list[str]]:
    """Fit a calibration on the images of a folder.

    Args:
        folder: contains one folder of images for each label; the case of its name does not matter.
        classifier: the classifier without a calibration.
        coverage, sensitivity: see `handler.local_calibration.fit_local`.

    Returns:
        The calibration, and the files that could not be read, with reasons.

    Raises:
        FolderError: there is no folder for a label.
        LocalCalibrationError: a label has too few readable images.
        OSError: a file cannot be read.
    """
    contract = classifier.contract
    files = labelled_files(folder, contract)
    scores, labels, unreadable = [], [], []
    begun = monotonic()
    for number, (path, label) in enumerate(files, 1):
        _show(number, len(files), monotonic() - begun)
        try:
            pixels = decode(read(path), contract.input_size)
        except InputError as exc:
            unreadable.append(f"{path}: {exc}")
            continue
        scores.append(classifier.score(pixels[np.newaxis]))
        labels.append(label)
    probabilities = [score.probabilities[0] for score in scores] or [np.empty(len(contract.labels))]
    distances = [score.distances[0] for score in scores] or [0.0]
    found = fit_local(
        contract,
        np.array(probabilities, np.float64)[: len(labels)],
        np.array(distances, np.float64),
        np.array(labels, np.int64),
        coverage=coverage,
        sensitivity=sensitivity,
    )
    return found, unreadable


def labelled_files(folder: Path, contract: Contract) -> list[tuple[Path, int]]:
    """List the files in the folders with the names of the labels, in any case. Hidden files are skipped.

    Raises:
        FolderError: a folder is missing; the message names it.
    """
    names = ", ".join(f"{label}/" for label in contract.labels)
    if not folder.is_dir():
        raise FolderError(f"{folder} is not a folder: give the folder that holds {names}", folder)
    named = {path.name.casefold(): path for path in sorted(folder.iterdir()) if path.is_dir()}
    files: list[tuple[Path, int]] = []
    for index, label in enumerate(contract.labels):
        if label.casefold() not in named:
            raise FolderError(f"{folder} has no folder {label}/: give the folder that holds {names}", folder)
        own = named[label.casefold()].iterdir()
        files += [(path, index) for path in sorted(own) if path.is_file() and not path.name.startswith(".")]
    return files


def report(calibration: LocalCalibration) -> str:
    """Return the results before and after calibration as a table, with 95 % intervals."""
    before, after = (calibration.measured[name] for name in ("before", "after"))
    rows = [("", "before", "after"), ("images", f"{sum(calibration.images.values())}", "")]
    for name, title in (("log_loss", "log loss"), ("ece", "calibration error")):
        rows.append((title, f"{before[name]:.3f}", f"{after[name]:.3f}"))
    for name, title in (("correct", "labelled correctly"), ("covered", "in the prediction set")):
        for label, count in calibration.images.items():
            title_of = f"{label} ({count}) {title}"
            rows.append((title_of, _percent(before[name][label]), _percent(after[name][label])))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join(lines)


def _percent(share: list[float]) -> str:
    value, low, high = share
    return f"{value:.1%} ({low:.0%} to {high:.0%})".replace("%", " %")


def _show(number: int, count: int, seconds: float) -> None:
    """Show the progress, only on a terminal."""
    if sys.stderr.isatty():
        left = seconds / number * (count - number)
        end = "\r\033[K" if number == count else ""
        sys.stderr.write(f"\rscoring image {number} of {count}, {left:.0f} s left {end}")

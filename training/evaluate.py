"""Evaluate a network or a bundle on a labelled folder.

    python -m training evaluate --model handler/model --data chest_xray/test
    python -m training evaluate --model handler/model --data chest_xray --validation runs/pruned

A bundle is evaluated exactly as it is served; TensorFlow is not imported for it.
"""

import datetime
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from handler.contract import LABELS
from handler.errors import InputError
from handler.files import label_of, labelled_files, read, require_readable, write_atomically, write_json
from handler.imaging.decode import Pixels, decode
from training.errors import DataError, RunError
from training.metrics import bootstrap, confusion, summary
from training.patients import PATIENT, patient_of
from training.run_folder import RunFolder
from training.scorer import open_scorer

KIND = re.compile(r"_(bacteria|virus)_")
"""The kind of pneumonia in the file names of this data set."""


def evaluate(
    model: Path,
    data: Path,
    out: Path,
    *,
    validation: Path | None = None,
    threshold: float | None = None,
    rounds: int = 1000,
    pattern: str = PATIENT,
) -> dict[str, Any]:
    """Score every image of `data/NORMAL` and `data/PNEUMONIA` and save report, metrics and plots in `out`.

    Args:
        model: a bundle folder, a run folder, or a `.keras` file.
        validation: a run folder: score those images of the data set that this run held out, and no others.
        threshold: instead of the model's own.
        rounds: bootstrap resamples.
        pattern: see `training.prepare.prepare`; intervals are drawn over patients.

    Returns:
        All metrics of `training.metrics.summary`, their `intervals`, the `confusion` counts, results `by_kind`, and
        their source: `model`, `data`, `split`, `date`, `threshold`, `n` images, `patients`, `unreadable` files.

    Raises:
        RunError: `model` is none, or `validation` is no run.
        BundleError: see `handler.errors`.
        DataError: a class has no readable image, or one of the run's split is not in `data`.
        FolderError: `data` has no folder for one of the classes.
        OSError: a file cannot be read, or `out` cannot be written; its note is the report then.
    """
    scorer = open_scorer(model)
    threshold = scorer.threshold if threshold is None else threshold
    files = _held_out(data, validation) if validation else labelled_files(data)
    pixels, labels, names, patients, unreadable = _read(files, data, scorer.size, pattern)
    probabilities = scorer.probabilities(pixels, lambda batches: tqdm(batches, desc="scoring", leave=False))
    result: dict[str, Any] = {
        "model": dict(scorer.about),
        "data": f"{data.resolve().parent.name}/{data.resolve().name}",
        "split": _split(data, validation),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "n": len(labels),
        "patients": len(set(patients)),
        "threshold": threshold,
        **summary(probabilities, labels, threshold),
        "confusion": confusion(probabilities, labels, threshold),
        "by_kind": _by_kind(names, labels, probabilities >= threshold),
        "intervals": bootstrap(probabilities, labels, threshold, patients, rounds, progress=_bar),
        "unreadable": unreadable,
    }
    from training.plots import plot_evaluation

    try:
        write_json(out / "metrics.json", result)
        write_atomically(out / "report.txt", lambda path: path.write_text(report(result), encoding="utf-8"))
        plot_evaluation(probabilities, labels, threshold, out)
    except OSError as exc:
        exc.add_note(report(result))
        raise
    return result


def report(result: dict[str, Any]) -> str:
    """The result of `evaluate` as text: counts in words, and a table of metrics."""
    (tn, fp), (fn, tp) = result["confusion"]
    lines = [
        f"{result['n']} images of {result['patients']} patients from {result['data']}",
        f"scored by {result['model']['name']} {result['model'].get('version', '')}".rstrip(),
        f"called {LABELS[1]} from a probability of {result['threshold']:.4f} on",
        "",
        f"of {tp + fn} images with pneumonia {tp} were found and {fn} missed",
        f"of {tn + fp} images without {tn} were cleared and {fp} called pneumonia",
        *(f"  {kind}: {share['correct']} of {share['n']} right" for kind, share in result["by_kind"].items()),
        "",
        f"{'':28}{'value':>8}   95 % interval (bootstrap over patients)",
    ]
    for name, (low, high) in result["intervals"].items():
        lines.append(f"{name.replace('_', ' '):28}{result[name]:8.4f}   {low:.4f} to {high:.4f}")
    if result["unreadable"]:
        lines += ["", f"{len(result['unreadable'])} files could not be read:", *result["unreadable"]]
    lines += ["", "This is no medical device; see the model card for what these numbers do not say."]
    return "\n".join(lines) + "\n"


def _split(data: Path, validation: Path | None) -> str:
    """The split that the images belong to: in the layout of `training.prepare` the folder's name tells."""
    if validation:
        return "validation"
    return "train" if data.resolve().name == "train" else "test"


def _held_out(data: Path, run: Path) -> list[tuple[Path, int]]:
    """Files and labels of a run's validation split.

    Raises:
        RunError: it is no run.
        DataError: an image of it is not in the data set.
    """
    names = RunFolder(run).read_split().validation
    files = [(data / name, _label(name)) for name in names]
    if gone := [path for path, _ in files if not path.is_file()]:
        raise DataError(f"{gone[0]} of the run's split is not there: give the data set that the run was trained on")
    require_readable(path for path, _ in files)
    return files


def _label(name: str) -> int:
    label = label_of(Path(name).parent.name)
    if label is None:
        raise RunError(f"{name} of the run's split is in no folder of {', '.join(LABELS)}: give another run")
    return label


def _read(
    files: Sequence[tuple[Path, int]], data: Path, size: int, pattern: str
) -> tuple[Pixels, npt.NDArray[np.int64], list[str], list[str], list[str]]:
    pixels, labels, names, patients, unreadable = [], [], [], [], []
    for path, label in tqdm(files, desc="reading", unit="image", leave=False):
        content = read(path)
        try:
            pixels.append(decode(content, size))
        except InputError as exc:
            unreadable.append(f"{path.parent.name}/{path.name}: {exc}")
            continue
        labels.append(label)
        names.append(path.name)
        patients.append(patient_of(path.relative_to(data).as_posix(), content, pattern))
    if len(set(labels)) < len(LABELS):
        lacking = DataError(f"{data} has no readable image of one of the classes {', '.join(LABELS)}: see above")
        for problem in unreadable:
            lacking.add_note(problem)
        raise lacking
    return np.stack(pixels), np.array(labels), names, patients, unreadable


def _by_kind(
    names: list[str], labels: npt.NDArray[np.int64], called: npt.NDArray[np.bool_]
) -> dict[str, dict[str, int]]:
    """Correct answers for normal, bacterial and viral images, where the file names contain the kind."""
    found: dict[str, dict[str, int]] = {}
    for name, label, positive in zip(names, labels, called, strict=True):
        match = KIND.search(name)
        kind = LABELS[0] if label == 0 else match.group(1) if match else LABELS[1]
        share = found.setdefault(kind, {"n": 0, "correct": 0})
        share["n"] += 1
        share["correct"] += int(positive == bool(label))
    return found


def _bar(rounds: range) -> Any:
    return tqdm(rounds, desc="bootstrap", leave=False)

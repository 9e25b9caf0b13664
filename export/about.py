"""The description of a bundle: default texts, or a JSON file with the fields of `handler.contract.About`."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from export.errors import AboutError
from handler.contract import About

_FIELDS = {field.name: field.type for field in dataclasses.fields(About)}


def about(labels: Sequence[str], **changes: Any) -> About:
    """Return default texts, for a bundle whose training data is unknown.

    Args:
        labels: class names of the bundle.
        changes: other values of fields of `About`.
    """
    classes = f"{', '.join(labels[:-1])} or {labels[-1]}"
    usual = About(
        title=f"{classes} from chest X-rays",
        intended_use=f"Research, teaching and engineering: probabilities of {classes} for one image that is like those "
        "of the training data.",
        limits=(
            "Only the people who trained the model know the training data: ask them about hospitals, ages, views and "
            "devices. The probabilities are not calibrated for other images.",
        ),
        source="own data",
        data="Only the people who trained the model know the training data. Calibration and validation used images of "
        "patients who are not in training.",
        shift="Images of another hospital, detector or age group differ from the training data, and results on them "
        "are worse. Validate on your own images before you rely on any number here; `python -m training robustness` "
        "shows what the network uses besides the lungs. It was trained and calibrated as if all classes were equally "
        "frequent.",
        license="mit",
        data_license="see the source of the data",
    )
    return dataclasses.replace(usual, **changes)


def read_about(file: Path) -> dict[str, Any]:
    """Fields of `About` from a JSON object, for `about`.

    Raises:
        AboutError: the file is not a JSON object, or has an unknown field or a value of another type.
        OSError: the file cannot be read.
    """
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as exc:
        raise AboutError(f"{file} is not JSON ({exc}): give a file such as export/kermany.json") from exc
    if not isinstance(values, dict) or (unknown := sorted(values.keys() - _FIELDS.keys())):
        wrong = f"has unknown fields, {', '.join(unknown)}" if isinstance(values, dict) else "is not a JSON object"
        raise AboutError(f"{file} {wrong}: use {', '.join(_FIELDS)}")
    if "limits" in values:
        values["limits"] = tuple(values["limits"]) if isinstance(values["limits"], list) else values["limits"]
    for name, value in values.items():
        texts = value if name == "limits" else (value,)
        if not isinstance(texts, tuple) or not all(isinstance(text, str) for text in texts):
            raise AboutError(f"{file}: {name} must be {'a list of texts' if name == 'limits' else 'a text'}")
    return values

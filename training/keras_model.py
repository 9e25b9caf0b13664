"""Scoring with a trained network before it is exported."""

import json
from pathlib import Path
from typing import Any

import keras

from training import operating
from training.errors import RunError
from training.evaluate import Judged
from training.fit import predict

_UNCHOSEN = {"temperature": 1.0, "threshold": 0.5, "input_size": 128}
"""For a network without its run folder."""


def load_judged(file: Path) -> Judged:
    """Open a `.keras` file; its operating point is read from the run folder that it lies in.

    Raises:
        RunError: Keras cannot read the file.
    """
    try:
        model = keras.models.load_model(file, compile=False)
    except Exception as exc:  # Keras raises whatever its reader met
        raise RunError(f"{file} cannot be read as a Keras network: {exc}") from exc
    beside = file.with_name("operating_point.json")
    point: dict[str, Any] = json.loads(beside.read_text(encoding="utf-8")) if beside.is_file() else _UNCHOSEN
    return Judged(
        about={"name": file.parent.name if beside.is_file() else file.name},
        threshold=point["threshold"],
        size=point["input_size"],
        predict=lambda pixels: operating.calibrate(predict(model, pixels, point["input_size"]), point["temperature"]),
    )

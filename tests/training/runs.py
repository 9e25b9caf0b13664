"""Small training runs, and what the tests compare of them."""

import json
from pathlib import Path

import numpy as np

SMALL = ["--init", "scratch", "--set", "width=0.1", "--set", "batch_size=8"]


def weights_of(run: Path) -> list[np.ndarray]:
    import keras

    weights: list[np.ndarray] = keras.models.load_model(run / "model.keras").get_weights()
    return weights


def history(run: Path) -> list[dict[str, object]]:
    """The results of each epoch, without its time."""
    rows = json.loads((run / "state.json").read_text())["history"]
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]

"""Knowledge distillation: a trained network, or several, tell a smaller one how sure to be of each picture.

Hinton, Vinyals, Dean, "Distilling the Knowledge in a Neural Network", 2015, arXiv:1503.02531. Teacher and student see
the same varied picture, each at its own size (Beyer et al. 2022, arXiv:2106.05237).
"""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
import numpy.typing as npt

from handler.imaging.decode import Pixels
from training.augment import resize
from training.config import Recipe
from training.errors import RunError
from training.network import build


def open_run(run: Path, *, as_trained: bool = False) -> tuple[keras.Model, Recipe]:
    """The network that a finished run left behind.

    Args:
        as_trained: in the precision of its training, which is quicker on the same machine, and not in float32.

    Raises:
        RunError: the run is not there or not finished.
    """
    try:
        recipe = Recipe.from_dict(json.loads((run / "config.json").read_text(encoding="utf-8"))["recipe"])
        saved = keras.models.load_model(run / "model.keras", compile=False)
    except (OSError, ValueError) as exc:
        raise RunError(f"{run} is no finished run: give one, or finish it with its own command ({exc})") from exc
    recipe = dataclasses.replace(recipe, mixed_precision=recipe.mixed_precision and as_trained)
    model = build(recipe)
    model.set_weights(saved.get_weights())
    return model, recipe


class Teacher:
    """The mean of what the networks of some runs say.

    Args:
        runs: folders of finished runs.
    """

    def __init__(self, runs: Sequence[Path]) -> None:
        self.names = [run.name for run in runs]
        opened = [open_run(run, as_trained=True) for run in runs]
        self._networks = [(model, recipe.size) for model, recipe in opened]

    def __call__(self, pictures: Sequence[Pixels]) -> npt.NDArray[np.float32]:
        """Probabilities `[N, 2]` of pictures `[S, S]` each."""
        said = [
            np.asarray(model.predict_on_batch(np.stack([resize(p, size) for p in pictures])[..., np.newaxis]))
            for model, size in self._networks
        ]
        return np.asarray(np.mean(said, axis=0), np.float32)

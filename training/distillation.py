"""Knowledge distillation: a network learns the probabilities of a trained one, the teacher, besides the labels.

Hinton, Vinyals, Dean, "Distilling the Knowledge in a Neural Network", 2015, arXiv:1503.02531. Teacher and student see
the same augmented image, each at its own size (Beyer et al. 2022, arXiv:2106.05237).
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from handler.imaging.decode import Pixels
from training.augment import resize
from training.network import load_trained
from training.run_folder import RunFolder


class Teacher:
    """The mean of the probabilities of several trained networks.

    Args:
        runs: finished runs, at least one.

    Raises:
        RunError: a run does not exist or is not finished.
    """

    def __init__(self, runs: Sequence[RunFolder]) -> None:
        self.names = tuple(run.name for run in runs)
        trained = [load_trained(run, as_trained=True) for run in runs]
        self._networks = [(model, recipe.size) for model, recipe in trained]

    def __call__(self, images: Sequence[Pixels]) -> npt.NDArray[np.float32]:
        """Probabilities `[N, 2]` of `N` images, uint8 `[S, S]` each."""
        probabilities = [
            np.asarray(model.predict_on_batch(np.stack([resize(image, size) for image in images])[..., np.newaxis]))
            for model, size in self._networks
        ]
        return np.asarray(np.mean(probabilities, axis=0), np.float32)

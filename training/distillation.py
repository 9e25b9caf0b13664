"""Knowledge distillation: a network learns the probabilities of a trained network, the teacher, and the labels.

Hinton, Vinyals, Dean, "Distilling the Knowledge in a Neural Network", 2015, arXiv:1503.02531. Teacher and student get
the same augmented image, each at its own size (Beyer et al. 2022, arXiv:2106.05237).
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from handler.imaging.decode import Pixels
from training.augment import resize
from training.errors import RunError
from training.network import load_trained
from training.run_folder import RunFolder


class Teacher:
    """The mean of the probabilities of several trained networks.

    Args:
        runs: finished runs, at least one.
        labels: class names that all of them must have.

    Raises:
        RunError: a run does not exist, is not finished, or has other classes.
    """

    def __init__(self, runs: Sequence[RunFolder], labels: Sequence[str]) -> None:
        for run in runs:
            require_labels(run, labels)
        self.names = tuple(run.name for run in runs)
        trained = [load_trained(run, as_trained=True) for run in runs]
        self._networks = [(model, recipe.size) for model, recipe in trained]

    def __call__(self, images: Pixels) -> npt.NDArray[np.float32]:
        """Probabilities `[N, K]` of images uint8 `[N, S, S]`."""
        probabilities = [
            np.asarray(model.predict_on_batch(np.stack([resize(image, size) for image in images])[..., np.newaxis]))
            for model, size in self._networks
        ]
        return np.asarray(np.mean(probabilities, axis=0), np.float32)


def require_labels(run: RunFolder, labels: Sequence[str]) -> None:
    """Check that a run has the classes of the data, in the same order.

    Raises:
        RunError: it has other classes, or another order.
    """
    if (found := run.read_config().labels) != tuple(labels):
        raise RunError(
            f"{run.path} has the classes {', '.join(found)}, the data has {', '.join(labels)}: prepare the data with "
            f"--labels {','.join(found)}, or train a network on it first"
        )

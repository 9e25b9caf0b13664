"""Knowledge distillation: a network learns the probabilities of a trained network, the teacher, and the labels.

Hinton, Vinyals, Dean, "Distilling the Knowledge in a Neural Network", 2015, arXiv:1503.02531. Teacher and student get
the same augmented image, each at its own size (Beyer et al. 2022, arXiv:2106.05237).
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from handler.imaging.decode import Pixels
from training.augment import resize
from training.backend import use_all_devices
from training.errors import RunError
from training.network import load_trained
from training.prepare import Prepared
from training.run_folder import RunFolder


class Teacher:
    """The mean of the probabilities of several trained networks.

    Args:
        runs: finished runs, at least one.
        data: what the student is trained on.

    Raises:
        RunError: a run does not exist, is not finished, has other classes, or was trained on validation images of
            `data`.
    """

    def __init__(self, runs: Sequence[RunFolder], data: Prepared) -> None:
        use_all_devices()  # before the first network is built
        for run in runs:
            require_suitable(run, data)
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


def require_suitable(run: RunFolder, data: Prepared) -> None:
    """Check that another network may learn from a run: it has the classes of the data, in the same order, and was not
    trained on the validation images, which it would know.

    Raises:
        RunError: one of the two does not hold.
    """
    if (found := run.read_config().labels) != data.names:
        raise RunError(
            f"{run.path} has the classes {', '.join(found)}, the data has {', '.join(data.names)}: prepare the data "
            f"with --labels {','.join(found)}, or train a network on it first"
        )
    if shared := set(run.read_split().train).intersection(data.files["validation"]):
        raise RunError(
            f"{run.path} was trained on {len(shared)} of the {len(data.files['validation'])} validation images of the "
            "data: give the --data that it was trained with"
        )

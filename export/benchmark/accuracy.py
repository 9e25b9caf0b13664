"""Accuracy and AUC of the benchmark's runners."""

import dataclasses
import logging
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from sklearn.metrics import roc_auc_score
from tqdm import tqdm

from export.benchmark.runner_pool import Runner, RunnerPool
from handler.errors import InputError
from handler.files import labelled_files
from handler.imaging.decode import Pixels, decode

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, slots=True)
class Evaluation:
    """Accuracy and AUC by the name of the runner, both 0..1, and the number of images that they were measured on."""

    accuracy: dict[str, float]
    auc: dict[str, float]
    images: int


def evaluate(pool: RunnerPool, runners: Sequence[Runner], data: Path) -> Evaluation:
    """Score the images of a folder with all runners whose model is trained.

    Args:
        pool: a runner that fails stops there and is left out.
        runners: those with a threshold are trained.
        data: folder with `NORMAL/` and `PNEUMONIA/`. Images that cannot be read are logged and left out.

    Raises:
        FolderError: there are no images in `data`.
    """
    trained = [runner for runner in runners if runner.threshold is not None]
    labels: dict[int, npt.NDArray[np.int64]] = {}
    result = Evaluation({}, {}, 0)
    with tempfile.TemporaryDirectory() as folder:
        for size in sorted({runner.size for runner in trained}):
            images, labels[size] = _read(data, size)
            np.save(Path(folder) / f"{size}.npy", images)
        for runner in tqdm(trained, desc="scoring", unit="runner", leave=False):
            answer = pool.ask(runner.name, do="score", images=f"{folder}/{runner.size}.npy")
            if answer:
                expected, scores = labels[runner.size], np.array(answer["probabilities"])
                result.accuracy[runner.name] = float(((scores >= runner.threshold) == expected).mean())
                result.auc[runner.name] = float(roc_auc_score(expected, scores))
    return dataclasses.replace(result, images=max(map(len, labels.values()), default=0))


def _read(data: Path, size: int) -> tuple[Pixels, npt.NDArray[np.int64]]:
    """The images of a labelled folder, uint8 `[N, S, S]`, and their labels `[N]`."""
    images, labels = [], []
    for path, label in tqdm(labelled_files(data), desc="reading", unit="image", leave=False):
        try:
            images.append(decode(path.read_bytes(), size))
        except InputError as exc:
            log.warning("%s is left out: %s", path, exc)
        else:
            labels.append(label)
    return np.stack(images), np.array(labels)

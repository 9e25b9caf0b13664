"""Accuracy and AUC of the benchmark's runners."""

import dataclasses
import logging
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from export.benchmark.runner_pool import Runner, RunnerPool
from training.dataset import DataSet, matched
from training.images import LabelledImages, read_labelled
from training.metrics import summary
from training.prepare import Prepared

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, slots=True)
class Evaluation:
    """Accuracy and AUC by the key of the runner, both 0..1, and the number of images that they were measured on."""

    accuracy: dict[str, float]
    auc: dict[str, float]
    images: int


def require_agreement(runners: Sequence[Runner], data: Prepared | DataSet) -> None:
    """Check before long work that the runners whose model is trained have the classes of the data.

    Raises:
        DataError: one of them has others.
    """
    for runner in runners:
        if runner.trained and runner.labels:
            matched(data.names, runner.labels, f"the data for {runner.key}")


def evaluate(pool: RunnerPool, runners: Sequence[Runner], data: Prepared | DataSet) -> Evaluation:
    """Score labelled images with all runners whose model is trained.

    Args:
        pool: a runner that fails stops there and is left out.
        data: see `training.images.read_labelled`. Images that cannot be read are logged and left out.

    Raises:
        DataError: see `training.images.read_labelled`.
    """
    trained = [runner for runner in runners if runner.trained]
    read: dict[int, LabelledImages] = {}
    result = Evaluation({}, {}, 0)
    with tempfile.TemporaryDirectory() as folder:
        for size in sorted({runner.size for runner in trained}):
            read[size] = read_labelled(data, size)
            np.save(Path(folder) / f"{size}.npy", read[size].pixels)
        for problem in next(iter(read.values())).unreadable if read else ():
            log.warning("%s: left out", problem)
        for runner in tqdm(trained, desc="scoring", unit="runner", leave=False):
            answer = pool.ask(runner.key, do="score", images=f"{folder}/{runner.size}.npy")
            if answer:
                names = runner.labels or data.names
                labels = np.array(matched(data.names, names, "the data"))[read[runner.size].labels]
                found = summary(np.array(answer["probabilities"]), labels, runner.threshold, names)
                result.accuracy[runner.key], result.auc[runner.key] = found["accuracy"], found["auc"]
    return dataclasses.replace(result, images=max((len(images.labels) for images in read.values()), default=0))

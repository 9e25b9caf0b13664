"""Score images in the same way with bundles and with Keras networks.

Keras is imported only when a Keras network is opened.
"""

import dataclasses
import logging
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from handler.calibration import calibrate
from handler.classifier import Classifier
from handler.contract import CONTRACT_FILE
from handler.imaging.decode import Pixels
from handler.scoring import identity
from handler.warnings import warnings_of
from training.backend import load_keras
from training.errors import RunError
from training.run_folder import RunFolder

log = logging.getLogger(__name__)

_SIZE = 128
"""Image size for a `.keras` file without a run folder, if the network accepts every size."""


@dataclasses.dataclass(frozen=True, slots=True)
class Scorer:
    """A model that scores images, of any format."""

    about: Mapping[str, Any]
    """`name`; for a bundle also `version` and `sha256`."""
    kind: str
    """The detected kind: a bundle, a run, or a network."""
    labels: tuple[str, ...] | None
    """Class names in the order of the probabilities; None for a `.keras` file without a run folder."""
    threshold: float | None
    """See `handler.contract.decide`."""
    size: int
    """Width and height of the images in pixels."""
    predict: Callable[[Pixels], npt.NDArray[np.float64]]
    """uint8 `[N, S, S]` to calibrated probabilities `[N, K]`, 0..1."""
    warned: Callable[[Pixels], npt.NDArray[np.bool_]] | None = None
    """uint8 `[N, S, S]` to whether each image gets a warning or is refused; None for models that are no bundle."""

    def probabilities(
        self, pixels: Pixels, progress: Callable[[range], Iterable[int]] = iter, batch: int = 32
    ) -> npt.NDArray[np.float64]:
        """Return the result of `predict`, computed in batches.

        Args:
            progress: wraps the start indices of the batches, to show progress.
        """
        return np.concatenate([self.predict(pixels[i : i + batch]) for i in progress(range(0, len(pixels), batch))])


def open_scorer(path: Path) -> Scorer:
    """Open a bundle folder, a run folder, or a `.keras` file, and log its kind. The operating point of a `.keras`
    file is read from the run folder in which it lies.

    Raises:
        RunError: the path is none of these, or Keras cannot read the file.
        BundleError: see `handler.errors`.
    """
    if (path / CONTRACT_FILE).is_file():
        scorer = _open_bundle(path)
    else:
        file = RunFolder(path).model if path.is_dir() else path
        if not file.is_file() or file.suffix != ".keras":
            raise RunError(f"{path} is not a model: give a bundle folder, a finished run folder, or a .keras file")
        scorer = _open_keras(file)
    classes = f" of the classes {', '.join(scorer.labels)}" if scorer.labels else ""
    log.info("%s: %s%s, for images of %d px", path, scorer.kind, classes, scorer.size)
    return scorer


def _open_bundle(folder: Path) -> Scorer:
    classifier = Classifier(folder)
    contract = classifier.contract

    def warned(pixels: Pixels) -> npt.NDArray[np.bool_]:
        scored = ((classifier.score(pixels[i : i + 1]), pixels[i]) for i in range(len(pixels)))
        return np.array([bool(warnings_of(contract, scores, image)) for scores, image in scored])

    return Scorer(
        about=identity(contract),
        kind="a bundle",
        labels=contract.labels,
        threshold=contract.threshold,
        size=contract.input_size,
        predict=lambda pixels: classifier.score(pixels).probabilities.astype(np.float64),
        warned=warned,
    )


def _open_keras(file: Path) -> Scorer:
    load_keras()
    import keras

    from training.network import predict

    try:
        model = keras.models.load_model(file, compile=False)
    except Exception as exc:  # Keras passes on any exception of its reader
        raise RunError(f"{file} cannot be read as a Keras network: {exc}") from exc
    run = RunFolder(file.parent)
    if not run.has_operating_point:
        size = model.input_shape[1] or _SIZE
        return Scorer(
            about={"name": file.name},
            kind="a network without a run",
            labels=None,
            threshold=0.5 if model.output_shape[-1] == 2 else None,
            size=size,
            predict=lambda pixels: predict(model, pixels, size),
        )
    point = run.read_operating_point()
    return Scorer(
        about={"name": run.name},
        kind="a run",
        labels=run.read_config().labels,
        threshold=point.threshold,
        size=point.input_size,
        predict=lambda pixels: calibrate(predict(model, pixels, point.input_size), point.temperature),
    )

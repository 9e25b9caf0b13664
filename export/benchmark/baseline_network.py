"""The network that the other runtimes run, in every model format that one of them needs.

The baseline network is VGG19 as it comes with Keras, for RGB images of 128 x 128 pixels, with a head that flattens. It
stands for the usual way: the converters of each library, default options, nothing folded. A trained network may take
its place. The files are made once and kept; `export.benchmark.baseline_formats` makes them and is imported only then.
"""

import dataclasses
import hashlib
import json
import logging
from collections.abc import Collection
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from export.benchmark.model_formats import FORMATS
from export.errors import NotInstalled, RunnerError
from export.run_images import Source, training_images
from handler.files import write_json
from training.dataset import DataSet
from training.errors import RunError
from training.prepare import Prepared
from training.run_folder import RunFolder

log = logging.getLogger(__name__)

CALIBRATION_IMAGES = 128

_ABOUT = "network.json"
_RELEASE = 1
"""Raised whenever the files are made differently, so that old ones are not used again."""


@dataclasses.dataclass(frozen=True, slots=True)
class Network:
    """A network whose model formats are in one folder."""

    folder: Path
    name: str
    size: int
    """Width and height of its images, in pixels."""
    channels: int
    trained: bool
    """Whether accuracy can be measured: random weights have none."""
    labels: tuple[str, ...] | None
    """Class names in the order of its probabilities; None if no run beside it tells them."""
    threshold: float | None
    """See `handler.contract.decide`; for probabilities as the network gives them."""
    failures: dict[str, RunnerError]
    """Why a model format could not be made, by file name."""

    def file(self, name: str) -> Path:
        """The file of a model format."""
        return self.folder / name


def prepare(
    cache: Path,
    file: Path | None,
    size: int | None,
    calibration: Prepared | DataSet | None,
    formats: Collection[str] = FORMATS,
) -> Network:
    """Make the model formats that are absent. An interrupt leaves each file whole or absent.

    Args:
        cache: each network has a folder in it, whose name depends on everything that the files depend on.
        file: a trained Keras network, pixels 0..255 `[N, H, W, 1 or 3]` to probabilities `[N, K]`; by default the
            baseline network with random weights.
        size: width and height of its images, needed if neither the network nor an `operating_point.json` beside it
            has them.
        calibration: data whose images calibrate int8, see `export.run_images.training_images`; by default noise.
        formats: which ones, of `export.benchmark.model_formats`.

    Raises:
        RunError: the file is no such network.
    """
    point = _operating_point(file)
    if size and point.get("input_size", size) != size:
        raise RunError(f"{file} takes images of {point['input_size']} px: leave --size out")
    size = size or point.get("input_size")
    images = _sample(calibration) if calibration else []
    folder = cache / f"network-{_digest(file, size, images)}"
    failures: dict[str, RunnerError] = {}
    absent = [name for name in formats if not (folder / name).is_file()]
    if absent or not (folder / _ABOUT).is_file():
        try:
            from export.benchmark.baseline_formats import ModelFormats
        except ModuleNotFoundError as exc:
            failures = dict.fromkeys(absent, NotInstalled(exc.name or str(exc)))
        else:
            log.info("preparing %s in %s", file or "the baseline network", folder)
            maker = ModelFormats(folder, file, size, images)
            write_json(folder / _ABOUT, {"size": maker.size, "channels": maker.channels, "classes": maker.classes})
            for name in tqdm(absent, desc="preparing", unit="file", leave=False):
                try:
                    maker.make(name)
                except Exception as exc:  # a converter may raise anything; it stops only its own runners
                    failures[name] = RunnerError(f"{name} could not be made: {type(exc).__name__}: {exc}")
    about = json.loads((folder / _ABOUT).read_text(encoding="utf-8")) if (folder / _ABOUT).is_file() else {}
    return Network(
        folder,
        f"{file.parent.name}/{file.name}" if file else "baseline network, random weights",
        about.get("size", 0),
        about.get("channels", 0),
        file is not None,
        _labels(file),
        _threshold(point) if about.get("classes", 2) == 2 else None,
        failures,
    )


def _operating_point(file: Path | None) -> dict[str, Any]:
    """What training has recorded beside a network; empty if there is nothing."""
    if file is None:
        return {}
    if not file.is_file():
        raise RunError(f"{file} does not exist: give a run folder or a .keras file, or leave --network out")
    beside = file.with_name("operating_point.json")
    return dict(json.loads(beside.read_text(encoding="utf-8"))) if beside.is_file() else {}


def _threshold(point: dict[str, Any]) -> float:
    """The recorded threshold is for probabilities after temperature scaling; this is the same one before it."""
    odds: float = point.get("threshold", 0.5) / (1 - point.get("threshold", 0.5))
    raised: float = odds ** point.get("temperature", 1.0)
    return raised / (1 + raised)


def _labels(file: Path | None) -> tuple[str, ...] | None:
    """The class names in the run of a network, if it lies in one."""
    run = RunFolder(file.parent) if file else None
    return run.read_config().labels if run and run.has_operating_point else None


def _sample(data: Prepared | DataSet) -> list[Source]:
    """A seeded sample of the training images."""
    images = training_images(data)
    return [images[i] for i in sorted(np.random.default_rng(0).permutation(len(images))[:CALIBRATION_IMAGES])]


def _digest(file: Path | None, size: int | None, images: list[Source]) -> str:
    """A short name for everything that the files depend on."""
    digest = hashlib.sha256(f"{_RELEASE} {size} {version('onnxruntime')}".encode())
    for source in [file, *images] if file else images:
        content = source.read_bytes() if isinstance(source, Path) else source.tobytes()
        digest.update(hashlib.sha256(content).digest())
    return digest.hexdigest()[:12]

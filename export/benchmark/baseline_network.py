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
from handler.files import labelled_files, write_json
from training.errors import RunError

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
    threshold: float
    """The probability, as the network gives it, from which on it calls an image positive."""
    failures: dict[str, RunnerError]
    """Why a model format could not be made, by file name."""

    def file(self, name: str) -> Path:
        """The file of a model format."""
        return self.folder / name


def prepare(
    cache: Path, file: Path | None, size: int | None, calibration: Path | None, formats: Collection[str] = FORMATS
) -> Network:
    """Make the model formats that are absent. An interrupt leaves each file whole or absent.

    Args:
        cache: each network has a folder in it, whose name depends on everything that the files depend on.
        file: a trained Keras network, pixels 0..255 `[N, H, W, 1 or 3]` to probabilities `[N, 2]`; by default the
            baseline network with random weights.
        size: width and height of its images, needed if neither the network nor an `operating_point.json` beside it
            has them.
        calibration: folder with `NORMAL/` and `PNEUMONIA/` whose images calibrate int8; by default noise.
        formats: which ones, of `export.benchmark.model_formats`.

    Raises:
        RunError: the file is no such network.
        FolderError: there are no images in `calibration`.
    """
    point = _operating_point(file)
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
            write_json(folder / _ABOUT, {"size": maker.size, "channels": maker.channels})
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
        _threshold(point),
        failures,
    )


def _operating_point(file: Path | None) -> dict[str, Any]:
    """What training has recorded beside a network; empty if there is nothing."""
    if file is None:
        return {}
    if not file.is_file():
        raise RunError(f"{file} does not exist: give the .keras file of a trained network, or leave --network out")
    beside = file.with_name("operating_point.json")
    return dict(json.loads(beside.read_text(encoding="utf-8"))) if beside.is_file() else {}


def _threshold(point: dict[str, Any]) -> float:
    """The recorded threshold is for probabilities after temperature scaling; this is the same one before it."""
    odds: float = point.get("threshold", 0.5) / (1 - point.get("threshold", 0.5))
    raised: float = odds ** point.get("temperature", 1.0)
    return raised / (1 + raised)


def _sample(calibration: Path) -> list[Path]:
    """A seeded sample of a labelled folder."""
    files = [path for path, _ in labelled_files(calibration)]
    return [files[i] for i in sorted(np.random.default_rng(0).permutation(len(files))[:CALIBRATION_IMAGES])]


def _digest(file: Path | None, size: int | None, images: list[Path]) -> str:
    """A short name for everything that the files depend on."""
    digest = hashlib.sha256(f"{_RELEASE} {size} {version('onnxruntime')}".encode())
    for path in [file, *images] if file else images:
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:12]

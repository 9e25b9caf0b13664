"""The network that the benchmark's peers run, in every form that one of them wants: Keras, ONNX, LiteRT, float, int8.

The seed of this project is VGG19 as it comes with Keras, 128 x 128 colour, with a head that flattens. It stands here
for the usual way: Keras' own converters, standard options, nothing folded. Any trained network may take its place.
The forms are made once and kept; `export.timing.seed_forms` makes them and is imported only then.
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

from export.errors import ContestantError, NotInstalled, RunError
from handler.files import labelled_files, write_json

log = logging.getLogger(__name__)

KERAS = "network.keras"
FLOAT_ONNX = "float32.onnx"
DYNAMIC_ONNX = "int8-dynamic.onnx"
STATIC_ONNX = "int8-static.onnx"
FLOAT_LITERT = "float32.tflite"
INT8_LITERT = "int8.tflite"
FORMS = (KERAS, FLOAT_ONNX, DYNAMIC_ONNX, STATIC_ONNX, FLOAT_LITERT, INT8_LITERT)
"""File names in the order in which they are made: a later one may be made from an earlier one."""

CALIBRATION_PICTURES = 128

_ABOUT = "network.json"
_RELEASE = 1
"""Raised whenever the forms are made differently, so that none made the old way is taken for one of the new."""


@dataclasses.dataclass(frozen=True, slots=True)
class Network:
    """A network whose forms lie in one folder."""

    folder: Path
    name: str
    size: int
    """Width and height of its pictures."""
    channels: int
    trained: bool
    """Random weights have no accuracy."""
    threshold: float
    """From which probability on, as the network gives it, it calls a picture positive."""
    failures: dict[str, ContestantError]
    """Why a form could not be made."""

    def file(self, form: str) -> Path:
        return self.folder / form


def prepare(
    cache: Path, file: Path | None, size: int | None, calibration: Path | None, forms: Collection[str] = FORMS
) -> Network:
    """Make the forms that are not there yet; each is whole or absent, whenever this is interrupted.

    Args:
        cache: below it each network has a folder, named after everything that the forms depend on.
        file: a trained Keras network, pixels 0..255 `[N, H, W, 1 or 3]` to probabilities `[N, 2]`; or the seed's
            network with random weights.
        size: of its pictures, where neither the network nor an `operating_point.json` beside it tells.
        calibration: folder with `NORMAL/` and `PNEUMONIA/` whose pictures calibrate int8; or noise.

    Raises:
        RunError: the file is no such network.
        FolderError: there are no pictures in `calibration`.
    """
    point = _operating_point(file)
    size = size or point.get("input_size")
    pictures = _sample(calibration) if calibration else []
    folder = cache / f"network-{_digest(file, size, pictures)}"
    failures: dict[str, ContestantError] = {}
    absent = [name for name in forms if not (folder / name).is_file()]
    if absent or not (folder / _ABOUT).is_file():
        try:
            from export.timing.seed_forms import Forms
        except ModuleNotFoundError as exc:
            failures = dict.fromkeys(absent, NotInstalled(exc.name or str(exc)))
        else:
            log.info("preparing %s in %s", file or "the seed network", folder)
            maker = Forms(folder, file, size, pictures)
            write_json(folder / _ABOUT, {"size": maker.size, "channels": maker.channels})
            for name in tqdm(absent, desc="preparing", unit="form", leave=False):
                try:
                    maker.make(name)
                except Exception as exc:  # whatever a converter raises costs its own contestants their place, no others
                    failures[name] = ContestantError(f"{name} could not be made: {type(exc).__name__}: {exc}")
    about = json.loads((folder / _ABOUT).read_text(encoding="utf-8")) if (folder / _ABOUT).is_file() else {}
    return Network(
        folder,
        f"{file.parent.name}/{file.name}" if file else "seed network, random weights",
        about.get("size", 0),
        about.get("channels", 0),
        file is not None,
        _threshold(point),
        failures,
    )


def _operating_point(file: Path | None) -> dict[str, Any]:
    """What training recorded beside a network, if it did."""
    if file is None:
        return {}
    if not file.is_file():
        raise RunError(f"{file} does not exist: give the .keras file of a trained network, or leave --network out")
    beside = file.with_name("operating_point.json")
    return dict(json.loads(beside.read_text(encoding="utf-8"))) if beside.is_file() else {}


def _threshold(point: dict[str, Any]) -> float:
    """The recorded threshold holds for probabilities after temperature; this is the same one before it."""
    odds: float = point.get("threshold", 0.5) / (1 - point.get("threshold", 0.5))
    raised: float = odds ** point.get("temperature", 1.0)
    return raised / (1 + raised)


def _sample(calibration: Path) -> list[Path]:
    """A seeded sample of a labelled folder."""
    files = [path for path, _ in labelled_files(calibration)]
    return [files[i] for i in sorted(np.random.default_rng(0).permutation(len(files))[:CALIBRATION_PICTURES])]


def _digest(file: Path | None, size: int | None, pictures: list[Path]) -> str:
    """Names everything that the forms depend on."""
    digest = hashlib.sha256(f"{_RELEASE} {size} {version('onnxruntime')}".encode())
    for path in [file, *pictures] if file else pictures:
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:12]

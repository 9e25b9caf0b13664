"""Reading what a training run left behind, and the pictures that it was trained and validated on."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from export.errors import CalibrationError, RunError
from handler.contract import LABELS
from handler.files import label_of, read, require_readable
from handler.imaging.decode import Pixels, decode


@dataclasses.dataclass(frozen=True, slots=True)
class Run:
    """A finished run folder of `python -m training fit`."""

    folder: Path
    config: dict[str, Any]
    metrics: dict[str, Any]
    operating_point: dict[str, Any]
    """`temperature`, `threshold`, `uncertain_from`, `uncertain_to`, as the contract names them."""
    input_size: int
    train: tuple[str, ...]
    validation: tuple[str, ...]
    """File names as SPLIT/CLASS/FILE."""

    @property
    def model(self) -> Path:
        return self.folder / "model.keras"


def read_run(folder: Path) -> Run:
    """Raises `RunError` when a file is absent or malformed."""
    try:
        config, metrics, split, point = (
            json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
            for name in ("config", "metrics", "split", "operating_point")
        )
        size = point.pop("input_size")
        run = Run(folder, config, metrics, point, size, tuple(split["train"]), tuple(split["validation"]))
    except FileNotFoundError as exc:
        raise RunError(
            f"{exc.filename} is missing: give the folder of a finished `python -m training fit`; the same fit command "
            "finishes an interrupted one"
        ) from exc
    except (ValueError, KeyError) as exc:
        raise RunError(f"{folder} is no run of this release: train again ({exc!r})") from exc
    if not run.model.is_file():
        raise RunError(f"{run.model} is missing: run the fit command again, it finishes the run")
    return run


@dataclasses.dataclass(frozen=True, slots=True)
class Pictures:
    """Decoded pictures with their labels."""

    pixels: Pixels
    """uint8 `[N, S, S]`."""
    labels: npt.NDArray[np.int64]


def read_pictures(files: tuple[str, ...], folder: Path, size: int) -> Pictures:
    """Decode files of a split.

    Args:
        files: names as SPLIT/CLASS/FILE.
        folder: the data set, or its SPLIT folder.

    Raises:
        CalibrationError: a file is not there.
        OSError: a file cannot be read.
    """
    paths = [_found(name, folder) for name in files]
    require_readable(paths)
    pixels = [decode(read(path), size) for path in tqdm(paths, desc="reading images", unit="image", leave=False)]
    return Pictures(np.stack(pixels), np.array([_label(path) for path in paths]))


def _found(name: str, folder: Path) -> Path:
    for path in (folder / name, folder / name.split("/", 1)[1]):
        if path.is_file():
            return path
    raise CalibrationError(
        f"{name} of the run's split is not below {folder}: give the data set that the run was trained on"
    )


def _label(path: Path) -> int:
    label = label_of(path.parent.name)
    if label is None:
        raise CalibrationError(f"{path} is in no folder of {', '.join(LABELS)}: give the run's own data set")
    return label


def sample(files: tuple[str, ...], count: int, seed: int) -> tuple[str, ...]:
    """A seeded sample, in the order of the split."""
    chosen = np.random.default_rng(seed).permutation(len(files))[:count]
    return tuple(files[i] for i in sorted(chosen))

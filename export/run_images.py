"""Reading the images that a run was trained and validated on."""

import dataclasses
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from export.errors import CalibrationError
from handler.contract import LABELS
from handler.files import label_of, read, require_readable
from handler.imaging.decode import Pixels, decode


@dataclasses.dataclass(frozen=True, slots=True)
class Images:
    """Decoded images with their labels."""

    pixels: Pixels
    """uint8 `[N, S, S]`."""
    labels: npt.NDArray[np.int64]


def read_images(files: tuple[str, ...], folder: Path, size: int) -> Images:
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
    return Images(np.stack(pixels), np.array([_label(path) for path in paths]))


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

"""Reading the images that a run was trained and validated on."""

import dataclasses
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from export.errors import CalibrationError
from handler.contract import LABELS
from handler.imaging.decode import Pixels, decode


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
    """
    pixels, labels = [], []
    for name in tqdm(files, desc="reading pictures", unit="picture", leave=False):
        below_split = name.split("/", 1)[1]
        path = next((path for path in (folder / name, folder / below_split) if path.is_file()), None)
        if path is None:
            raise CalibrationError(
                f"{name} of the run's split is not below {folder}: give the data set that the run was trained on"
            )
        pixels.append(decode(path.read_bytes(), size))
        labels.append(LABELS.index(path.parent.name))
    return Pictures(np.stack(pixels), np.array(labels))


def sample(files: tuple[str, ...], count: int, seed: int) -> tuple[str, ...]:
    """A seeded sample, in the order of the split."""
    chosen = np.random.default_rng(seed).permutation(len(files))[:count]
    return tuple(files[i] for i in sorted(chosen))

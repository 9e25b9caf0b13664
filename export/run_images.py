"""Read the images that a run was trained and validated on."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from export.errors import CalibrationError
from handler.files import read
from handler.imaging.decode import Pixels, decode, squared
from training.dataset import AS_IT_IS, DataSet, Reading, matched
from training.images import open_data
from training.prepare import SIZE, Prepared
from training.progress import progress

Source = Path | Pixels
"""A file, or prepared pixels uint8 `[S, S]`."""


@dataclasses.dataclass(frozen=True, slots=True)
class Images:
    """Decoded images with their labels."""

    pixels: Pixels
    """uint8 `[N, S, S]`."""
    labels: npt.NDArray[np.int64]
    """`[N]`, indices of `names`."""
    names: tuple[str, ...]
    """Class names."""


class RunImages:
    """The images of a run.

    Args:
        data: the data set that the run was trained on, one of its parts that contains all images, the folder that was
            prepared from it, or its content. Prepared images are resized.
        names: the run's class names.
        reading: how to read the data set.

    Raises:
        DataError: the folder has other classes; also see `training.images.open_data`.
        FolderError: see `training.images.open_data`.
    """

    def __init__(self, data: Path | Prepared, names: Sequence[str], reading: Reading = AS_IT_IS) -> None:
        self._data = data if isinstance(data, Prepared) else open_data(data, reading)
        self._folder = data.folder if isinstance(data, Prepared) else data
        self._names = tuple(names)
        self._labels = matched(self._data.names, names, str(self._folder))

    @property
    def largest(self) -> int:
        """The size in pixels of prepared images, or the size at which other images would be prepared."""
        return int(self._data.pixels["train"].shape[-1]) if isinstance(self._data, Prepared) else SIZE

    def read(self, files: Sequence[str], size: int) -> Images:
        """Decode files of the run's split.

        Args:
            size: width and height in pixels.

        Raises:
            CalibrationError: a file is missing.
            OSError: a file cannot be read.
        """
        find = _of_prepared(self._data) if isinstance(self._data, Prepared) else _of_data_set(self._data)
        found = []
        for name in files:
            # In the run's split, the part may be a folder of the given data set.
            image = find.get(name) or find.get(name.partition("/")[2])
            if image is None:
                raise CalibrationError(
                    f"{name} of the run's split is not in {self._folder}: give the data set that the run was trained "
                    "on, with the same options"
                )
            found.append(image)
        bar = progress(found, "reading images")
        return Images(
            np.stack([pixels_of(source, size) for source, _ in bar]),
            np.array([self._labels[label] for _, label in found]),
            self._names,
        )


def pixels_of(source: Source, size: int) -> Pixels:
    """Return the image, uint8 `[size, size]`, of a file or of prepared pixels."""
    if isinstance(source, Path):
        return decode(read(source), size)
    return squared(Image.fromarray(source), size)


def training_images(data: Prepared | DataSet) -> list[Source]:
    """Return the images of the train part, or all images if the data set is not divided."""
    if isinstance(data, Prepared):
        return list(data.pixels["train"])
    part = "train" if "train" in data.parts else data.parts[0]
    return [item.path for item in data.items if item.part == part]


def _of_data_set(data: DataSet) -> dict[str, tuple[Source, int]]:
    return {item.file: (item.path, item.label) for item in data.items}


def _of_prepared(data: Prepared) -> dict[str, tuple[Source, int]]:
    return {
        file: (data.pixels[split][row], int(data.labels[split][row]))
        for split, files in data.files.items()
        for row, file in enumerate(files)
    }


def sample(files: tuple[str, ...], count: int, seed: int) -> tuple[str, ...]:
    """Return a random sample, in the order of the split."""
    chosen = np.random.default_rng(seed).permutation(len(files))[:count]
    return tuple(files[i] for i in sorted(chosen))

"""Augmented images with their targets, kept in files: later epochs and a resumed run read them instead of making them
again."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from handler.imaging.decode import Pixels

Indices = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]


class KeptAugmentation:
    """One augmented version of each image, and its target probabilities, in two `.npy` files.

    Args:
        folder: is made if it is absent.
        name: of the files, without a suffix.
        images: number of images, `N`.
        size: image size in pixels, `S`.
        classes: number of classes, `K`.
    """

    def __init__(self, folder: Path, name: str, images: int, size: int, classes: int) -> None:
        self._files = folder / f"{name}.pixels.npy", folder / f"{name}.targets.npy"
        self._shapes = ((images, size, size), np.uint8), ((images, classes), np.float32)

    @property
    def complete(self) -> bool:
        """Whether both files are written."""
        return all(file.is_file() for file in self._files)

    def read(self, chosen: Iterator[Indices]) -> Iterator[tuple[Pixels, Floats]]:
        """Yield images uint8 `[B, S, S]` and targets `[B, K]`, for the indices `[B]` of each batch."""
        pixels, targets = (np.load(file, mmap_mode="r") for file in self._files)
        for indices in chosen:
            yield pixels[indices], targets[indices]

    def write(
        self, chosen: Iterator[Indices], made: Iterator[tuple[Pixels, Floats]]
    ) -> Iterator[tuple[Pixels, Floats]]:
        """Yield what `made` yields, and keep it. The files appear when all batches are taken: an interrupt leaves
        nothing that looks complete.

        Args:
            chosen: the indices `[B]` of each batch; all batches together contain each image once.
            made: images uint8 `[B, S, S]` and targets `[B, K]` of each batch.
        """
        self._files[0].parent.mkdir(parents=True, exist_ok=True)
        parts = [file.with_name(f".{file.name}") for file in self._files]
        arrays = [
            np.lib.format.open_memmap(part, "w+", dtype, shape)
            for part, (shape, dtype) in zip(parts, self._shapes, strict=True)
        ]
        for indices, batch in zip(chosen, made, strict=True):
            for array, values in zip(arrays, batch, strict=True):
                array[indices] = values
            yield batch
        for array in arrays:
            array.flush()
        for part, file in zip(parts, self._files, strict=True):
            part.replace(file)

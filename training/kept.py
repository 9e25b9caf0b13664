"""Augmented images with their targets, kept in files: later epochs and a resumed run read them instead of making them
again."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from handler.files import named
from handler.imaging.decode import Pixels
from training.backend import Floats
from training.run_files import write_array_header

Indices = npt.NDArray[np.int64]


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

        Raises:
            OSError: the files cannot be written.
        """
        folder = self._files[0].parent
        folder.mkdir(parents=True, exist_ok=True)
        parts = [file.with_name(f".{file.name}") for file in self._files]
        # A memory map would end the process without a message if the disk is full.
        with named(folder), contextlib.ExitStack() as stack:
            opened = [stack.enter_context(part.open("wb")) for part in parts]
            starts = [write_array_header(file, *shape) for file, shape in zip(opened, self._shapes, strict=True)]
            for indices, (pixels, targets) in zip(chosen, made, strict=True):
                _write_rows(opened[0], starts[0], indices, pixels)
                _write_rows(opened[1], starts[1], indices, targets)
                yield pixels, targets
        for part, whole in zip(parts, self._files, strict=True):
            part.replace(whole)


def _write_rows(file: BinaryIO, start: int, indices: Indices, rows: npt.NDArray[Any]) -> None:
    for index, row in zip(indices, rows, strict=True):
        file.seek(start + int(index) * row.nbytes)
        file.write(row.tobytes())

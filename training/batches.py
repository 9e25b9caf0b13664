"""The batches of one training epoch: shuffled, augmented, with mixup and with the targets of a teacher.

Worker processes augment the images, see `training.processes`. They read `train.npy` directly and import neither Keras
nor its backend. The teacher runs in the main process, on whole batches.
"""

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from handler.imaging.decode import Pixels
from training.augment import augment, change_framing, resize
from training.backend import Floats
from training.kept import Indices, KeptAugmentation
from training.operating_point import corrupted
from training.processes import Workers
from training.recipe import Recipe

Batch = tuple[Pixels, Floats, Floats]
"""Images uint8 `[B, S, S, 1]`, target probabilities `[B, K]`, and weights in the loss `[B]`."""

Teacher = Callable[[Pixels], Floats]
"""Returns probabilities `[N, K]` for images uint8 `[N, P, P]`."""


@dataclasses.dataclass(frozen=True, slots=True)
class _Augmented:
    """Augments images in a worker process."""

    file: Path
    """uint8 `[N, P, P]`, as `numpy.save` writes it. It is opened anew for each batch, so that the pages that were
    read do not stay in the memory of the process."""
    recipe: Recipe
    augmentation: int
    size: int | None
    """Image size of the results in pixels; None for `P`."""

    def __call__(self, chosen: Indices) -> tuple[Pixels, Indices, Floats]:
        """Images `[B, S, S]`, the index `[B]` of the mixup partner of each, and the partner's share `[B]`."""
        pixels = np.load(self.file, mmap_mode="r")
        images, partners, shares = zip(*(self._one(pixels, int(i)) for i in chosen), strict=True)
        size = self.size or pixels.shape[-1]
        return np.stack([resize(image, size) for image in images]), np.array(partners), np.array(shares, np.float32)

    def _one(self, pixels: Pixels, i: int) -> tuple[Pixels, int, float]:
        recipe = self.recipe
        rng = np.random.default_rng((recipe.seed, self.augmentation, i))
        if rng.random() < recipe.untouched:
            return change_framing(pixels[i], rng, recipe.augmentation), i, 0.0
        image = augment(pixels[i], rng, recipe.augmentation)
        if rng.random() >= recipe.mixup:
            return image, i, 0.0
        other, share = int(rng.integers(len(pixels))), rng.uniform(0, 0.5)
        partner = augment(pixels[other], rng, recipe.augmentation)
        return np.asarray(Image.blend(Image.fromarray(image), Image.fromarray(partner), share)), other, share


class Batches:
    """The batches of one epoch. The same seed and epoch give the same batches, whatever the number of workers.

    Args:
        file: uint8 `[N, P, P]`, as `numpy.save` writes it.
        labels: `[N]`, index of the class.
        classes: number of classes, `K`.
        recipe: batch size, augmentation, mixup and distillation.
        size: image size in pixels, at most `P`.
        epoch: number of the epoch, from 0.
        workers: augment the images.
        kept: folder for augmented images and their targets, if the recipe has `cached_augmentations`. Each image
            takes as many bytes as it has pixels.
    """

    def __init__(
        self,
        file: Path,
        labels: Indices,
        classes: int,
        recipe: Recipe,
        size: int,
        epoch: int,
        workers: Workers,
        teacher: Teacher | None = None,
        kept: Path | None = None,
    ) -> None:
        self._labels, self._recipe, self._size, self._workers, self._teacher = labels, recipe, size, workers, teacher
        number = epoch % recipe.cached_augmentations if recipe.cached_augmentations else epoch
        self._kept = (
            KeptAugmentation(kept, f"{size}-{number}", len(labels), size, classes)
            if kept and recipe.cached_augmentations
            else None
        )
        # The teacher needs each image before it is reduced.
        self._augmented = _Augmented(file, recipe, number, None if teacher else size)
        self._order = np.random.default_rng((recipe.seed, epoch)).permutation(len(labels))
        # This alone corrects class imbalance: all classes have the same total weight in the loss.
        self._class_weight = len(labels) / (classes * np.bincount(labels, minlength=classes))
        self._one_hot = np.eye(classes, dtype=np.float32)

    @property
    def images(self) -> int:
        """Number of images in the epoch."""
        return len(self._order)

    def __len__(self) -> int:
        return len(self._starts())

    def __iter__(self) -> Iterator[Batch]:
        for indices, (pixels, targets) in zip(self._chosen(), self._examples(), strict=True):
            yield pixels[..., np.newaxis], targets, self._class_weight[self._labels[indices]].astype(np.float32)

    def _starts(self) -> range:
        return range(0, len(self._order), self._recipe.batch_size)

    def _chosen(self) -> Iterator[Indices]:
        return (self._order[start:][: self._recipe.batch_size] for start in self._starts())

    def _examples(self) -> Iterator[tuple[Pixels, Floats]]:
        if self._kept and self._kept.complete:
            return self._kept.read(self._chosen())
        made = (
            self._targeted(indices, *augmented)
            for indices, augmented in zip(
                self._chosen(), self._workers.map(self._augmented, self._chosen()), strict=True
            )
        )
        return self._kept.write(self._chosen(), made) if self._kept else made

    def _targeted(self, chosen: Indices, images: Pixels, partners: Indices, shares: Floats) -> tuple[Pixels, Floats]:
        """Return images at the size of the epoch, with targets from labels and teacher."""
        share = shares[:, np.newaxis]
        targets = (1 - share) * self._one_hot[self._labels[chosen]] + share * self._one_hot[self._labels[partners]]
        if self._teacher:
            weight = self._recipe.distillation
            targets = (1 - weight) * targets + weight * self._teacher(images)
            images = np.stack([resize(image, self._size) for image in images])
        return images, np.asarray(targets, np.float32)


@dataclasses.dataclass(frozen=True, slots=True)
class Corrupted:
    """Makes the corrupted validation set in worker processes.

    Args:
        file: uint8 `[N, P, P]`, as `numpy.save` writes it.
        count: number of images, `N`.
        seed: see `training.operating_point.corrupted`.
        size: image size in pixels of the result.
    """

    file: Path
    count: int
    seed: int
    size: int

    def batches(self, copies: int, workers: Workers, batch: int = 64) -> Iterator[Pixels]:
        """Batches uint8 `[B, S, S]`: the unchanged images, then the first copy of each, then the second."""
        return workers.map(
            self, ((copy, start, batch) for copy in range(1 + copies) for start in range(0, self.count, batch))
        )

    def __call__(self, part: tuple[int, int, int]) -> Pixels:
        copy, start, batch = part
        pixels = np.load(self.file, mmap_mode="r")[start : start + batch]
        images = (corrupted(image, self.seed, copy, start + i) for i, image in enumerate(pixels))
        return np.stack([resize(image, self.size) for image in images])

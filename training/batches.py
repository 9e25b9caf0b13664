"""The batches of one training epoch: shuffled, augmented, with mixup and with the targets of a teacher.

Worker processes augment the images, see `training.processes`. They read `train.npy` directly and import neither Keras
nor its backend. The teacher runs in the main process, on whole batches.
"""

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from handler.imaging.decode import Pixels
from training.augment import augment, change_framing, resize
from training.operating_point import corrupted
from training.processes import Workers
from training.recipe import Recipe

Indices = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]

Batch = tuple[Pixels, Floats, Floats]
"""Images uint8 `[B, S, S, 1]`, target probabilities `[B, K]`, and weights in the loss `[B]`."""

CachedAugmentations = dict[tuple[int, int, int], tuple[Pixels, Floats]]
"""Images uint8 `[S, S]` with their target probabilities `[K]`, by image size, number of the augmentation, and index of
the image."""

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
        cache: keeps augmented images and their targets between epochs, if the recipe has
            `cached_augmentations`. Each image takes as many bytes as it has pixels.
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
        cache: CachedAugmentations | None = None,
    ) -> None:
        self._labels, self._recipe, self._size, self._workers, self._teacher = labels, recipe, size, workers, teacher
        self._cache = cache if recipe.cached_augmentations else None
        self._augmentation = epoch % recipe.cached_augmentations if recipe.cached_augmentations else epoch
        # The teacher needs each image before it is reduced.
        self._augmented = _Augmented(file, recipe, self._augmentation, None if teacher else size)
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
        chosen = [self._order[start:][: self._recipe.batch_size] for start in self._starts()]
        new = self._workers.map(self._augmented, filter(len, map(self._missing, chosen)))
        for indices in chosen:
            missing = self._missing(indices)
            examples = self._targeted(missing, *next(new)) if len(missing) else None
            pixels, targets = examples if self._cache is None and examples else self._kept(indices, missing, examples)
            yield pixels[..., np.newaxis], targets, self._class_weight[self._labels[indices]].astype(np.float32)

    def _starts(self) -> range:
        return range(0, len(self._order), self._recipe.batch_size)

    def _key(self, index: int) -> tuple[int, int, int]:
        return self._size, self._augmentation, int(index)

    def _missing(self, indices: Indices) -> Indices:
        """Return the images that are not in the cache."""
        return indices if self._cache is None else indices[[self._key(i) not in self._cache for i in indices]]

    def _kept(
        self, indices: Indices, missing: Indices, examples: tuple[Pixels, Floats] | None
    ) -> tuple[Pixels, Floats]:
        """Add new examples to the cache, and return all examples from it."""
        assert self._cache is not None
        if examples:
            self._cache.update(zip(map(self._key, missing), zip(*examples, strict=True), strict=True))
        pixels, targets = zip(*(self._cache[self._key(i)] for i in indices), strict=True)
        return np.stack(pixels), np.stack(targets)

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

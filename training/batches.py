"""The batches of one training epoch: shuffled, augmented, with mixup and with the targets of a teacher."""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image

from handler.contract import LABELS
from handler.imaging.decode import Pixels
from training.augment import augment, change_framing, resize
from training.recipe import Recipe

Example = tuple[Pixels, npt.NDArray[np.float32]]
"""An image uint8 `[S, S]` and its target probabilities `[2]`."""

Batch = tuple[Pixels, npt.NDArray[np.float32], npt.NDArray[np.float32]]
"""Images uint8 `[B, S, S, 1]`, target probabilities `[B, 2]`, and weights in the loss `[B]`."""

CachedAugmentations = dict[tuple[int, int, int], Example]
"""Examples by image size, number of the augmentation, and index of the image."""

_ONE_HOT = np.eye(len(LABELS), dtype=np.float32)


class Batches(Sequence[Batch]):
    """The batches of one epoch. The same seed and epoch give the same batches.

    Args:
        pixels: uint8 `[N, P, P]`.
        labels: `[N]`, 1 for positive.
        recipe: batch size, augmentation, mixup and distillation.
        size: image size in pixels, at most `P`.
        epoch: number of the epoch, from 0.
        teacher: returns probabilities `[N, 2]` for `N` images `[P, P]`.
        cache: keeps augmented images and their targets between epochs, if the recipe has
            `cached_augmentations`. Each example takes as many bytes as it has pixels.
    """

    def __init__(
        self,
        pixels: Pixels,
        labels: npt.NDArray[np.int64],
        recipe: Recipe,
        size: int,
        epoch: int,
        teacher: Callable[[Sequence[Pixels]], npt.NDArray[np.float32]] | None = None,
        cache: CachedAugmentations | None = None,
    ) -> None:
        self._pixels, self._labels, self._recipe, self._size = pixels, labels, recipe, size
        self._teacher = teacher
        self._cache = cache if recipe.cached_augmentations else None
        self._augmentation = epoch % recipe.cached_augmentations if recipe.cached_augmentations else epoch
        self._order = np.random.default_rng((recipe.seed, epoch)).permutation(len(labels))
        # Only this handles class imbalance: both classes have the same total weight in the loss.
        self._class_weight = len(labels) / (2 * np.bincount(labels, minlength=len(LABELS)))

    def __len__(self) -> int:
        return -(-len(self._order) // self._recipe.batch_size)

    def __getitem__(self, index: int) -> Batch:  # type: ignore[override]  # slices are not used
        if not 0 <= index < len(self):
            raise IndexError(index)
        chosen = self._order[index * self._recipe.batch_size :][: self._recipe.batch_size]
        pixels, targets = (np.stack(part) for part in zip(*self._examples(chosen), strict=True))
        return pixels[..., np.newaxis], targets, self._class_weight[self._labels[chosen]].astype(np.float32)

    def _examples(self, chosen: npt.NDArray[np.int64]) -> list[Example]:
        if self._cache is None:
            return self._new_examples(chosen)
        keys = [(self._size, self._augmentation, int(i)) for i in chosen]
        if missing := [key for key in keys if key not in self._cache]:
            self._cache.update(zip(missing, self._new_examples(np.array([i for *_, i in missing])), strict=True))
        return [self._cache[key] for key in keys]

    def _new_examples(self, chosen: npt.NDArray[np.int64]) -> list[Example]:
        """Augmented images at the size of the epoch, with targets from labels and teacher."""
        augmented = [self._augmented(i) for i in chosen]
        images, targets = [image for image, _ in augmented], np.stack([target for _, target in augmented])
        if self._teacher:
            share = self._recipe.distillation
            targets = (1 - share) * targets + share * self._teacher(images)
        return [(resize(image, self._size), target) for image, target in zip(images, targets, strict=True)]

    def _augmented(self, i: int) -> Example:
        """This epoch's augmentation of image `i` at full size, with the target from the labels."""
        recipe, target = self._recipe, _ONE_HOT[self._labels[i]]
        rng = np.random.default_rng((recipe.seed, self._augmentation, int(i)))
        if rng.random() < recipe.untouched:
            return change_framing(self._pixels[i], rng, recipe.augmentation), target
        image = augment(self._pixels[i], rng, recipe.augmentation)
        if rng.random() < recipe.mixup:
            other, share = int(rng.integers(len(self._labels))), rng.uniform(0, 0.5)
            partner = augment(self._pixels[other], rng, recipe.augmentation)
            image = np.asarray(Image.blend(Image.fromarray(image), Image.fromarray(partner), share))
            target = np.asarray((1 - share) * target + share * _ONE_HOT[self._labels[other]], np.float32)
        return image, target

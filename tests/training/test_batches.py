"""The batches of an epoch: augmentation, its cache, mixup, and the targets of a teacher."""

from pathlib import Path

import numpy as np

from training.batches import Batches
from training.network import widths
from training.prepare import load, prepare
from training.recipe import pruned_recipe, scratch_recipe

WHOLE = widths(scratch_recipe())


def test_a_student_learns_from_labels_and_teacher_alike(phantoms: Path, tmp_path: Path) -> None:
    prepare(phantoms, tmp_path, size=48, validation=0.25)
    data = load(tmp_path)
    recipe = pruned_recipe(WHOLE, size=32, epochs=1, batch_norm=True, distillation=0.25, batch_size=4)
    seen = []

    def teacher(images: list[np.ndarray]) -> np.ndarray:
        seen.extend(images)
        return np.tile(np.float32([0.4, 0.6]), (len(images), 1))

    pixels, targets, _ = Batches(data.pixels["train"], data.labels["train"], recipe, 32, 0, teacher)[0]

    labels = (targets - 0.25 * np.float32([0.4, 0.6])) / 0.75
    np.testing.assert_allclose(np.sort(labels, axis=1), np.tile([0, 1], (4, 1)), atol=1e-6)
    assert [image.shape for image in seen] == [(48, 48)] * 4, "the teacher sees the image before it is made small"
    assert pixels.shape == (4, 32, 32, 1)


def test_cached_augmentations_are_repeated(phantoms: Path, tmp_path: Path) -> None:
    prepare(phantoms, tmp_path, size=48, validation=0.25)
    data = load(tmp_path)
    recipe = pruned_recipe(WHOLE, size=48, epochs=4, batch_norm=True, cached_augmentations=2)

    asked: list[bytes] = []
    memory: dict = {}

    def teacher(images: list[np.ndarray]) -> np.ndarray:
        asked.extend(image.tobytes() for image in images)
        return np.stack([[image.mean() / 255, 1 - image.mean() / 255] for image in images]).astype(np.float32)

    def shown(epoch: int, cache: dict | None) -> dict[bytes, bytes]:
        batches = Batches(data.pixels["train"], data.labels["train"], recipe, 48, epoch, teacher, cache)
        pairs = [pair for i in range(len(batches)) for pair in zip(*batches[i][:2], strict=True)]
        return {image.tobytes(): target.tobytes() for image, target in pairs}

    assert shown(0, memory) == shown(2, memory)
    assert shown(1, memory) == shown(3, memory)
    assert shown(0, memory) != shown(1, memory)
    assert len(asked) == 2 * len(data.labels["train"]), "once for each augmentation"
    assert shown(3, None) == shown(3, memory), "an interrupted run, which has forgotten them, goes on with the same"


def test_a_mixup_partner_contributes_its_label(phantoms: Path, tmp_path: Path) -> None:
    prepare(phantoms, tmp_path, size=48, validation=0.25)
    data = load(tmp_path)
    recipe = pruned_recipe(WHOLE, size=48, epochs=1, batch_norm=True, mixup=1.0, untouched=0.0, augmentation=0.0)
    black, white = (np.full((48, 48), grey, np.uint8) for grey in (0, 255))
    labels = data.labels["train"]
    pixels = np.stack([white if label else black for label in labels])

    batches = Batches(pixels, labels, recipe, 48, 0)
    shown, targets = (np.concatenate(parts) for parts in zip(*((b[0], b[1]) for b in batches), strict=True))

    # White is the positive class: how bright an image is says how much of its label is positive.
    np.testing.assert_allclose(shown[:, 0, 0, 0] / 255, targets[:, 1], atol=0.01)
    assert len(np.unique(targets[:, 1])) > 4, "not only whole labels"

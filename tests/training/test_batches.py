"""The batches of an epoch: augmentation, its cache, mixup, and the targets of a teacher."""

import dataclasses
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.training.in_workers import die, modules, number
from training.batches import Batches, Corrupted
from training.errors import DataError
from training.prepare import Prepared, load, prepare
from training.processes import Workers
from training.recipe import Recipe, pruned_recipe, scratch_recipe

CHANNELS = (8,) * 16


@pytest.fixture(scope="module")
def data(phantoms: Path, tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    folder = tmp_path_factory.mktemp("prepared")
    prepare(phantoms, folder, size=48, validation=0.25)
    return load(folder)


@pytest.fixture(scope="module")
def thread() -> Iterator[Workers]:
    with Workers(1) as workers:
        yield workers


@pytest.fixture(scope="module")
def processes() -> Iterator[Workers]:
    with Workers(2) as workers:
        yield workers


def batches_of(data: Prepared, recipe: Recipe, size: int, epoch: int, workers: Workers, *more: object) -> Batches:
    file, labels = data.folder / "train.npy", data.labels["train"]
    return Batches(file, labels, len(data.names), recipe, size, epoch, workers, *more)  # type: ignore[arg-type]


def test_a_student_learns_from_labels_and_teacher_alike(data: Prepared, thread: Workers) -> None:
    recipe = pruned_recipe(CHANNELS, size=32, epochs=1, batch_norm=True, distillation=0.25, batch_size=4)
    seen = []

    def teacher(images: np.ndarray) -> np.ndarray:
        seen.extend(images)
        return np.tile(np.float32([0.4, 0.6]), (len(images), 1))

    pixels, targets, _ = next(iter(batches_of(data, recipe, 32, 0, thread, teacher)))

    labels = (targets - 0.25 * np.float32([0.4, 0.6])) / 0.75
    np.testing.assert_allclose(np.sort(labels, axis=1), np.tile([0, 1], (4, 1)), atol=1e-6)
    assert [image.shape for image in seen] == [(48, 48)] * 4, "the teacher sees the image before it is made small"
    assert pixels.shape == (4, 32, 32, 1)


class Bright:
    """A teacher whose probabilities are the brightness of the image and the rest; it counts the images."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self, images: np.ndarray) -> np.ndarray:
        self.asked += len(images)
        return np.stack([[image.mean() / 255, 1 - image.mean() / 255] for image in images]).astype(np.float32)


def test_cached_augmentations_are_repeated(data: Prepared, thread: Workers, tmp_path: Path) -> None:
    recipe = pruned_recipe(CHANNELS, size=48, epochs=4, batch_norm=True, cached_augmentations=2)
    teacher = Bright()

    def shown(epoch: int, kept: Path | None) -> dict[bytes, bytes]:
        batches = batches_of(data, recipe, 48, epoch, thread, teacher, kept)
        pairs = [pair for batch in batches for pair in zip(*batch[:2], strict=True)]
        return {image.tobytes(): target.tobytes() for image, target in pairs}

    kept = tmp_path / "kept"
    assert shown(0, kept) == shown(2, kept)
    assert shown(1, kept) == shown(3, kept)
    assert shown(0, kept) != shown(1, kept)
    assert teacher.asked == 2 * len(data.labels["train"]), "once for each augmentation"
    assert shown(3, None) == shown(3, kept), "they are what would be made again"


def test_an_interrupted_epoch_keeps_no_augmentations(data: Prepared, thread: Workers, tmp_path: Path) -> None:
    recipe = pruned_recipe(CHANNELS, size=32, epochs=4, batch_norm=True, cached_augmentations=1, batch_size=4)
    teacher = Bright()

    def epoch() -> list[np.ndarray]:
        return [batch[0] for batch in batches_of(data, recipe, 32, 0, thread, teacher, tmp_path / "kept")]

    interrupted = iter(batches_of(data, recipe, 32, 0, thread, teacher, tmp_path / "kept"))
    next(interrupted)
    del interrupted
    before = teacher.asked
    first = epoch()
    assert teacher.asked == before + len(data.labels["train"]), "all are made again"
    for batch, again in zip(first, epoch(), strict=True):
        np.testing.assert_array_equal(batch, again)
    assert teacher.asked == before + len(data.labels["train"])


def test_a_full_disk_is_an_error_that_names_the_folder(data: Prepared, thread: Workers, tmp_path: Path) -> None:
    recipe = pruned_recipe(CHANNELS, size=32, epochs=4, batch_norm=True, cached_augmentations=1)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
    try:
        with pytest.raises(OSError, match="kept"):
            list(batches_of(data, recipe, 32, 0, thread, Bright(), tmp_path / "kept"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_mixup_partner_contributes_its_label(data: Prepared, thread: Workers, tmp_path: Path) -> None:
    recipe = pruned_recipe(CHANNELS, size=48, epochs=1, batch_norm=True, mixup=1.0, untouched=0.0, augmentation=0.0)
    black, white = (np.full((48, 48), grey, np.uint8) for grey in (0, 255))
    np.save(tmp_path / "train.npy", np.stack([white if label else black for label in data.labels["train"]]))

    batches = batches_of(dataclasses.replace(data, folder=tmp_path), recipe, 48, 0, thread)
    shown, targets = (np.concatenate(parts) for parts in zip(*((b[0], b[1]) for b in batches), strict=True))

    # White is the positive class, so the brightness of an image is the share of the positive label.
    np.testing.assert_allclose(shown[:, 0, 0, 0] / 255, targets[:, 1], atol=0.01)
    assert len(np.unique(targets[:, 1])) > 4, "not only whole labels"


def test_batches_do_not_depend_on_the_number_of_workers(data: Prepared, thread: Workers, processes: Workers) -> None:
    recipe = scratch_recipe(mixup=0.5, batch_size=10)
    one, two = (list(batches_of(data, recipe, 32, 3, workers)) for workers in (thread, processes))

    assert len(one) == len(two) == -(-len(data.labels["train"]) // 10)
    for each, other in zip(one, two, strict=True):
        for part, counterpart in zip(each, other, strict=True):
            np.testing.assert_array_equal(part, counterpart)
    again = list(batches_of(data, recipe, 32, 4, thread))
    assert not np.array_equal(one[0][0], again[0][0]), "another epoch has other batches"


def test_every_class_has_the_same_weight(data: Prepared, thread: Workers) -> None:
    rare = np.arange(len(data.labels["train"])) % 10
    labels = np.minimum(rare, 2)  # a tenth, a tenth, and the rest
    batches = Batches(data.folder / "train.npy", labels, 3, scratch_recipe(), 32, 0, thread)
    parts = [(targets, weights) for _, targets, weights in batches]
    targets, weights = (np.concatenate(part) for part in zip(*parts, strict=True))
    totals = (targets * weights[:, np.newaxis]).sum(axis=0)

    assert targets.shape == (len(labels), 3)
    np.testing.assert_allclose(totals, len(labels) / 3, rtol=1e-4)


def test_the_corrupted_validation_set_is_the_images_and_repeatable_corruptions(
    data: Prepared, thread: Workers, processes: Workers
) -> None:
    pixels = data.pixels["validation"]
    made = Corrupted(data.folder / "validation.npy", len(pixels), seed=1, size=48)
    found = np.concatenate(list(made.batches(2, thread, batch=5)))

    assert found.shape == (3 * len(pixels), 48, 48)
    np.testing.assert_array_equal(found[: len(pixels)], pixels)
    first, second = found[len(pixels) : 2 * len(pixels)], found[2 * len(pixels) :]
    assert not np.array_equal(first, pixels)
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(found, np.concatenate(list(made.batches(2, processes))))


def test_workers_import_no_framework(data: Prepared) -> None:
    import keras  # noqa: F401  # this process has it

    with Workers(2) as workers:
        next(iter(batches_of(data, scratch_recipe(), 32, 0, workers)))
        imported = {name for names in workers.map(modules, range(4)) for name in names}
    assert "training.batches" in imported
    assert not {"keras", "tensorflow", "jax", "torch"} & imported


def test_a_worker_that_the_system_ended_is_a_clear_error() -> None:
    with Workers(2) as workers, pytest.raises(DataError, match="give --workers 1"):
        list(workers.map(die, range(3)))


def test_an_error_in_a_worker_is_raised_here() -> None:
    with Workers(2) as workers, pytest.raises(FileNotFoundError, match="nowhere"):
        list(workers.map(number, ["1", "/nowhere", "2"]))


def test_only_a_few_inputs_are_taken_ahead(thread: Workers, processes: Workers) -> None:
    for workers in (thread, processes):
        taken: list[str] = []
        results = workers.map(number, (taken.append(str(i)) or str(i) for i in range(1000)))  # type: ignore[func-returns-value]
        assert next(results) == 0
        assert len(taken) < 10
        results.close()  # type: ignore[attr-defined]


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_workers_end_when_their_process_was_killed() -> None:
    code = (
        "import os, signal\n"
        "from training.processes import Workers\n"
        "from tests.training.in_workers import process_id\n"
        "if __name__ == '__main__':\n"
        "    workers = Workers(2)\n"
        "    print(*set(workers.map(process_id, range(20))), flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    pids = [int(word) for word in done.stdout.split()]
    assert done.returncode == -signal.SIGKILL
    assert pids
    deadline = time.monotonic() + 60
    while any(_runs(pid) for pid in pids):
        assert time.monotonic() < deadline


def _runs(pid: int) -> bool:
    """Whether a process exists and is not a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False

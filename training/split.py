"""Split a data set into training and validation images by whole patients."""

import collections
import dataclasses
import re
from collections.abc import Sequence
from typing import Literal

from training.errors import DataError
from training.layout import Part

MIN_VALIDATION = 100
"""A `val` folder with fewer images than this is ignored. That of Kaggle has 16 images and no viral case."""

Split = Literal["train", "validation"]


@dataclasses.dataclass(frozen=True, slots=True)
class Image:
    """One readable file of the data set."""

    file: str
    """Relative to the data folder, with forward slashes."""
    label: int
    patient: str
    sha256: str
    """SHA-256 of the decoded pixels."""


def split(
    images: dict[Part, list[Image]],
    names: Sequence[str],
    problems: list[str],
    *,
    validation: float,
    seed: int,
    held_out_group: str | None,
) -> dict[Split, list[Image]]:
    """Drop duplicates and split `train`. A `val` folder with at least `MIN_VALIDATION` images of all classes is used as
    the validation split instead.

    Args:
        images: images by part; dropped images are removed from this mapping.
        names: class names.
        problems: a line is appended for each exclusion and its reason.
        validation, seed, held_out_group: see `training.prepare.prepare`.

    Raises:
        DataError: a class is empty, there are too few patients to split, or no patient matches `held_out_group`.
    """
    if "val" in images and not _validates(images["val"], len(names)):
        # Before the search for duplicates, so that an unused folder does not remove images from train/.
        few = len(images.pop("val"))
        problems.append(f"val/: {few} images are too few for validation; the folder is ignored")
    _drop_duplicates(images, problems)
    apart: list[Image] = []
    if held_out_group:
        patients = sorted({image.patient for image in images["train"]})
        matched = {patient for patient in patients if re.search(held_out_group, patient)}
        if not matched:
            raise DataError(
                f"{held_out_group!r} matches none of the {len(patients)} patients of train/: {patients[:3]} ..."
            )
        apart = [image for image in images["train"] if image.patient in matched]
        images["train"] = [image for image in images["train"] if image.patient not in matched]
    _require_classes(images["train"], names)
    if "val" in images:
        held_out = images["val"]
        shared = {image.patient for image in held_out} & {image.patient for image in images["train"]}
        if shared:
            problems.append(f"val/: {len(shared)} patients are also in train/; their images in train/ are left out")
        train = [image for image in images["train"] if image.patient not in shared]
        _require_classes(train, names)
    else:
        train, held_out = _cut(images["train"], names, validation, seed)
    splits: dict[Split, list[Image]] = {"train": train, "validation": held_out + apart}
    _check_overlap(splits, len(names), images.get("test", []), problems)
    return splits


def _validates(images: list[Image], classes: int) -> bool:
    return len(images) >= MIN_VALIDATION and len({image.label for image in images}) == classes


def _drop_duplicates(images: dict[Part, list[Image]], problems: list[str]) -> None:
    """Keep one of several files with the same pixels, preferably the one in the test folder. If their labels differ,
    keep none for training."""
    groups: dict[str, list[tuple[Part, Image]]] = collections.defaultdict(list)
    for split in sorted(images, key=["test", "val", "train"].index):
        for image in images[split]:
            groups[image.sha256].append((split, image))
    dropped: set[str] = set()
    for group in groups.values():
        if len(group) == 1:
            continue
        names = ", ".join(image.file for _, image in group)
        if len({image.label for _, image in group}) > 1:
            problems.append(f"{names}: identical under different labels, none is used for training")
            dropped |= {image.file for split, image in group if split != "test"}
        else:
            problems.append(f"{names}: identical, the first one is used")
            dropped |= {image.file for split, image in group[1:] if split != "test"}
    for split in images:
        images[split] = [image for image in images[split] if image.file not in dropped]


def _require_classes(train: list[Image], names: Sequence[str]) -> None:
    present = {image.label for image in train}
    if absent := [name for label, name in enumerate(names) if label not in present]:
        raise DataError(
            f"there is no training image of {', '.join(absent)}: add images, or choose other classes with --labels"
        )


def _cut(train: list[Image], names: Sequence[str], share: float, seed: int) -> tuple[list[Image], list[Image]]:
    """Hold out whole patients, stratified by label."""
    from sklearn.model_selection import StratifiedGroupKFold

    folds = round(1 / share)
    patients_by_label = {
        name: len({image.patient for image in train if image.label == label}) for label, name in enumerate(names)
    }
    if min(patients_by_label.values()) < folds:
        raise DataError(
            f"a validation share of {share} needs at least {folds} patients of each class, but there are "
            f"{', '.join(f'{count} of {name}' for name, count in patients_by_label.items())}: "
            "add images or raise --validation; if there are more patients, check --patient or PatientID in DICOM files"
        )
    cutter = StratifiedGroupKFold(n_splits=folds, shuffle=True, random_state=seed)
    labels, groups = [p.label for p in train], [p.patient for p in train]
    kept, held_out = next(iter(cutter.split(labels, labels, groups)))
    return [train[i] for i in kept], [train[i] for i in held_out]


def _check_overlap(splits: dict[Split, list[Image]], classes: int, test: list[Image], problems: list[str]) -> None:
    """Check that no patient is in both splits."""
    train, validation = ({p.patient for p in splits[name]} for name in ("train", "validation"))
    if shared := train & validation:
        raise DataError(f"patients in both train and validation: {', '.join(sorted(shared)[:5])}")
    if len({p.label for p in splits["validation"]}) < classes:
        raise DataError("the validation split lacks a class: add images or raise --validation")
    # Not an error: in the Kaggle archive bacterial and viral cases are numbered separately, so equal
    # numbers mean different people. In other data, shared patients would make the test result too optimistic.
    if shared := {p.patient for p in test} & (train | validation):
        problems.append(
            f"test/: {len(shared)} patient names occur in train/ too; if they are the same people, the test leaks"
        )

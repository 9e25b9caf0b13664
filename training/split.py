"""Cut a data set into training and validation by whole patients."""

import collections
import dataclasses
import re
from typing import Literal

from handler.contract import LABELS
from training.errors import DataError

MIN_VALIDATION = 100
"""A ready-made validation folder smaller than this is ignored; Kaggle's has 16 pictures and no viral case."""

Split = Literal["train", "validation"]


@dataclasses.dataclass(frozen=True, slots=True)
class Picture:
    """One readable file of the data set."""

    file: str
    """Relative to the data folder, with forward slashes."""
    label: int
    patient: str
    sha256: str
    """Of the decoded pixels."""


def split(
    pictures: dict[str, list[Picture]],
    problems: list[str],
    *,
    validation: float,
    seed: int,
    held_out_group: str | None,
) -> dict[Split, list[Picture]]:
    """Drop duplicates from the folders and cut `train`; a `val` folder of some size is taken as it is.

    Args:
        pictures: by folder; what is dropped is taken out of it.
        problems: what was left out and why goes here.
        validation, seed, held_out_group: see `training.prepare.prepare`.

    Raises:
        DataError: an empty class, too few patients to split, or nobody to hold out.
    """
    if "val" in pictures and not _validates(pictures["val"]):
        # Before duplicates are looked for: a folder that is not used shall not take pictures from train/.
        few = len(pictures.pop("val"))
        problems.append(f"val/: {few} pictures are too few to validate on; the folder is ignored")
    _drop_duplicates(pictures, problems)
    apart: list[Picture] = []
    if held_out_group:
        patients = sorted({picture.patient for picture in pictures["train"]})
        matched = {patient for patient in patients if re.search(held_out_group, patient)}
        if not matched:
            raise DataError(
                f"{held_out_group!r} matches none of the {len(patients)} patients of train/: {patients[:3]} ..."
            )
        apart = [picture for picture in pictures["train"] if picture.patient in matched]
        pictures["train"] = [picture for picture in pictures["train"] if picture.patient not in matched]
    _require_both_classes(pictures["train"])
    if "val" in pictures:
        held_out = pictures["val"]
        shared = {picture.patient for picture in held_out} & {picture.patient for picture in pictures["train"]}
        if shared:
            problems.append(f"val/: {len(shared)} patients are in train/ too; their pictures are left out of train/")
        train = [picture for picture in pictures["train"] if picture.patient not in shared]
        _require_both_classes(train)
    else:
        train, held_out = _cut(pictures["train"], validation, seed)
    splits: dict[Split, list[Picture]] = {"train": train, "validation": held_out + apart}
    _check_overlap(splits, pictures.get("test", []), problems)
    return splits


def _validates(pictures: list[Picture]) -> bool:
    return len(pictures) >= MIN_VALIDATION and {picture.label for picture in pictures} == set(range(len(LABELS)))


def _drop_duplicates(pictures: dict[str, list[Picture]], problems: list[str]) -> None:
    """Keep one of several files with the same pixels, the one in the test folder first; none where their labels
    differ."""
    groups: dict[str, list[tuple[str, Picture]]] = collections.defaultdict(list)
    for split in sorted(pictures, key=["test", "val", "train"].index):
        for picture in pictures[split]:
            groups[picture.sha256].append((split, picture))
    dropped: set[str] = set()
    for group in groups.values():
        if len(group) == 1:
            continue
        names = ", ".join(picture.file for _, picture in group)
        if len({picture.label for _, picture in group}) > 1:
            problems.append(f"{names}: identical under different labels, none is used for training")
            dropped |= {picture.file for split, picture in group if split != "test"}
        else:
            problems.append(f"{names}: identical, the first one is used")
            dropped |= {picture.file for split, picture in group[1:] if split != "test"}
    for split in pictures:
        pictures[split] = [picture for picture in pictures[split] if picture.file not in dropped]


def _require_both_classes(train: list[Picture]) -> None:
    for index, label in enumerate(LABELS):
        if not any(picture.label == index for picture in train):
            raise DataError(f"train/{label} holds no image to learn from: training needs both classes")


def _cut(train: list[Picture], share: float, seed: int) -> tuple[list[Picture], list[Picture]]:
    """Hold out whole patients, with the labels in proportion."""
    from sklearn.model_selection import StratifiedGroupKFold

    folds = round(1 / share)
    patients_by_label = [len({p.patient for p in train if p.label == index}) for index in range(len(LABELS))]
    if min(patients_by_label) < folds:
        raise DataError(
            f"a validation share of {share} needs at least {folds} patients of each class, got {patients_by_label}: "
            "add images or raise --validation; if it should have more, check --patient, and PatientID in DICOM files"
        )
    cutter = StratifiedGroupKFold(n_splits=folds, shuffle=True, random_state=seed)
    labels, groups = [p.label for p in train], [p.patient for p in train]
    kept, held_out = next(iter(cutter.split(labels, labels, groups)))
    return [train[i] for i in kept], [train[i] for i in held_out]


def _check_overlap(splits: dict[Split, list[Picture]], test: list[Picture], problems: list[str]) -> None:
    """The proof that no patient stands on both sides of the cut."""
    train, validation = ({p.patient for p in splits[name]} for name in ("train", "validation"))
    if shared := train & validation:
        raise DataError(f"patients in both train and validation: {', '.join(sorted(shared)[:5])}")
    if len({p.label for p in splits["validation"]}) < len(LABELS):
        raise DataError("the validation split lacks a class: add pictures or raise --validation")
    # Not an error: in the Kaggle archive bacterial and viral cases are numbered apart, so equal numbers there mean
    # different people. In other data it would make the test result too good, hence the line.
    if shared := {p.patient for p in test} & (train | validation):
        problems.append(
            f"test/: {len(shared)} patient names occur in train/ too; if they are the same people, test leaks"
        )

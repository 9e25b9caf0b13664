"""Check a data set once and turn it into plain arrays.

    python -m training prepare --data chest_xray --out data/prepared

`--data` is laid out as the Kaggle archive is: `train/NORMAL`, `train/PNEUMONIA`, and optionally `test/` and `val/`.
"""

import collections
import dataclasses
import functools
import hashlib
import json
import re
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from handler.contract import LABELS, LEAST_INPUT_SIZE
from handler.errors import InputError
from handler.files import write_atomically, write_json
from handler.imaging.decode import Pixels, decode
from training.errors import DataError

PATIENT = r"^(person\d+|(?:NORMAL2-)?IM-\d+)"
"""The part of a file name that names the patient in this data set; up to 30 pictures share one."""

SIZE = 224
"""Of prepared pictures, in pixels; they are augmented at this size and then shrunk to that of the epoch."""

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


@dataclasses.dataclass(frozen=True, slots=True)
class Prepared:
    """A prepared data set in memory."""

    pixels: dict[Split, Pixels]
    """uint8 `[N, S, S]` by split."""
    labels: dict[Split, npt.NDArray[np.int64]]
    files: dict[Split, list[str]]
    patients: dict[Split, list[str]]


def patient_of(name: str, pattern: str = PATIENT) -> str:
    """The patient that a file name belongs to; a name that does not tell stands for a patient of its own."""
    return _told_patient(name, pattern) or Path(name).stem


def _told_patient(name: str, pattern: str) -> str | None:
    match = re.search(pattern, name)
    return match.group(1) if match else None


def prepare(
    data: Path,
    out: Path,
    *,
    size: int = SIZE,
    validation: float = 0.15,
    seed: int = 0,
    pattern: str = PATIENT,
    held_out_group: str | None = None,
) -> dict[str, Any]:
    """Read, check, split and decode.

    Writes `split.json`, `train.npy`, `validation.npy` and `report.json` into `out`, the last one last.

    Args:
        validation: share of the training pictures to hold out, by whole patients, stratified by label. It is rounded to
            one of a whole number of parts: 0.15 is a seventh.
        pattern: regular expression on the file name whose first group is the patient.
        held_out_group: regular expression on patients. All that it matches go to validation besides the share of the
            rest: a group that training has never seen shows what patients of known ones hide.

    Returns:
        The report: counts, and what was left out and why.

    Raises:
        DataError: too small a size, no training folder, an empty class, too few patients to split, or nobody to hold
            out.
    """
    if size < LEAST_INPUT_SIZE:
        raise DataError(f"VGG19 halves five times: prepare pictures of at least {LEAST_INPUT_SIZE} px, not {size}")
    if not 0 < validation < 0.5:
        raise DataError(f"the validation share must lie between 0 and 0.5, got {validation}")
    if not (data / "train").is_dir():
        raise DataError(f"{data} has no train/ folder: expected train/{LABELS[0]} and train/{LABELS[1]} with pictures")
    problems: list[str] = _misplaced(data)
    pictures: dict[str, list[Picture]] = {}
    pixels: dict[str, Pixels] = {}
    for name in ("train", "val", "test"):
        if (data / name).is_dir():
            pictures[name] = _read(data, name, size, pattern, pixels, problems)
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
    _require_both_classes(pictures["train"], problems)
    if "val" in pictures:
        held_out = pictures["val"]
        shared = {picture.patient for picture in held_out} & {picture.patient for picture in pictures["train"]}
        if shared:
            problems.append(f"val/: {len(shared)} patients are in train/ too; their pictures are left out of train/")
        train = [picture for picture in pictures["train"] if picture.patient not in shared]
        _require_both_classes(train, problems)
    else:
        train, held_out = _cut(pictures["train"], validation, seed)
    splits: dict[Split, list[Picture]] = {"train": train, "validation": held_out + apart}
    _check_overlap(splits, pictures.get("test", []), problems)
    (out / "split.json").unlink(missing_ok=True)  # until all is new, nothing there belongs together
    for split, chosen in splits.items():
        array = np.stack([pixels[picture.file] for picture in chosen])
        write_atomically(out / f"{split}.npy", functools.partial(_save, array))
    rows = {name: [dataclasses.asdict(picture) for picture in chosen] for name, chosen in splits.items()}
    how = {"size": size, "seed": seed, "validation": validation, "patient": pattern, "held_out_group": held_out_group}
    write_json(out / "split.json", how | rows)
    report = {
        "data": data.name,
        "size": size,
        "seed": seed,
        "counts": {
            name: {label: sum(p.label == index for p in chosen) for index, label in enumerate(LABELS)}
            | {"patients": len({p.patient for p in chosen})}
            for name, chosen in [*splits.items(), ("test", pictures.get("test", []))]
        },
        "problems": problems,
    }
    write_json(out / "report.json", report)
    return report


def _save(array: Pixels, path: Path) -> None:
    np.save(path, array)


def load(folder: Path) -> Prepared:
    """Read back what `prepare` wrote.

    Raises:
        DataError: a file is absent or does not belong to the others.
    """
    try:
        split = json.loads((folder / "split.json").read_text(encoding="utf-8"))
        pixels: dict[Split, Pixels] = {name: np.load(folder / f"{name}.npy") for name in ("train", "validation")}
    except FileNotFoundError as exc:
        raise DataError(
            f"{exc.filename} is missing, so {folder} is no prepared folder: give one that `python -m training prepare "
            "--data DATA_SET --out FOLDER` has made"
        ) from exc
    for name, array in pixels.items():
        if len(array) != len(split[name]):
            raise DataError(f"{folder / name}.npy does not belong to split.json: run `prepare` again")
    rows = {name: split[name] for name in pixels}
    return Prepared(
        pixels=pixels,
        labels={name: np.array([row["label"] for row in rows[name]], dtype=np.int64) for name in rows},
        files={name: [row["file"] for row in rows[name]] for name in rows},
        patients={name: [row["patient"] for row in rows[name]] for name in rows},
    )


def _misplaced(data: Path) -> list[str]:
    """Everything that does not stand at SPLIT/CLASS/FILE."""
    splits = {"train", "val", "test"}
    strays = [path for path in data.iterdir() if path.name not in splits]
    for split in splits:
        strays += [path for path in (data / split).glob("*") if path.name not in LABELS]
        for label in LABELS:
            strays += [path for path in (data / split / label).glob("*") if not path.is_file()]
    return [f"{_printable(path.relative_to(data))}: misplaced, ignored" for path in sorted(strays)]


def _printable(path: Path) -> str:
    """A path as text that any file can hold, whatever bytes the name has."""
    return path.as_posix().encode(errors="backslashreplace").decode()


def _read(
    data: Path, split: str, size: int, pattern: str, pixels: dict[str, Pixels], problems: list[str]
) -> list[Picture]:
    paths = [
        (path, index)
        for index, label in enumerate(LABELS)
        for path in sorted((data / split / label).glob("*"))
        if path.is_file()
    ]
    pictures: list[Picture] = []
    untold: list[str] = []
    for path, label in tqdm(paths, desc=f"reading {split}", unit="picture", leave=False):
        file = path.relative_to(data).as_posix()
        if file != _printable(path.relative_to(data)):
            problems.append(f"{_printable(path.relative_to(data))}: the name is no UTF-8, rename the file")
            continue
        try:
            pixels[file] = decode(path.read_bytes(), size)
        except InputError as exc:
            problems.append(f"{file}: {exc}")
            continue
        if _told_patient(path.name, pattern) is None:
            untold.append(path.name)
        digest = hashlib.sha256(pixels[file].tobytes()).hexdigest()
        pictures.append(Picture(file, label, patient_of(path.name, pattern), digest))
    if untold:
        problems.append(
            f"{split}/: {len(untold)} of {len(pictures)} file names do not tell the patient, such as {untold[0]}; each "
            "counts as a patient of its own. If several pictures show one person, say by --patient how names tell"
        )
    return pictures


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


def _require_both_classes(train: list[Picture], problems: list[str]) -> None:
    for index, label in enumerate(LABELS):
        if not any(picture.label == index for picture in train):
            found = "".join(f"\n  {problem}" for problem in problems[:5])
            raise DataError(f"train/{label} holds no picture to learn from: training needs both classes{found}")


def _cut(train: list[Picture], share: float, seed: int) -> tuple[list[Picture], list[Picture]]:
    """Hold out whole patients, with the labels in proportion."""
    from sklearn.model_selection import StratifiedGroupKFold

    folds = round(1 / share)
    patients_by_label = [len({p.patient for p in train if p.label == index}) for index in range(len(LABELS))]
    if min(patients_by_label) < folds:
        raise DataError(
            f"a validation share of {share} needs at least {folds} patients of each class, got {patients_by_label}: "
            "add pictures or raise --validation"
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

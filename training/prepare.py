"""Check a data set once and turn it into plain arrays.

    python -m training prepare --data chest_xray --out data/prepared

`--data` has the layout of the Kaggle archive: `train/NORMAL`, `train/PNEUMONIA`, and optionally `test/` and `val/`.
"""

import dataclasses
import functools
import hashlib
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from handler.contract import LABELS, LEAST_INPUT_SIZE
from handler.errors import InputError
from handler.files import read, require_layout, require_readable, walk, write_atomically, write_json
from handler.imaging.decode import Pixels, decode
from training.errors import DataError
from training.patients import PATIENT, told_patient
from training.split import Image, Split, split

SIZE = 224
"""Size of prepared images in pixels. They are augmented at this size and then resized to the size of the epoch."""


@dataclasses.dataclass(frozen=True, slots=True)
class Prepared:
    """A prepared data set in memory."""

    pixels: dict[Split, Pixels]
    """uint8 `[N, S, S]` by split."""
    labels: dict[Split, npt.NDArray[np.int64]]
    files: dict[Split, list[str]]
    patients: dict[Split, list[str]]


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
    """Read, check, decode and split a data set.

    Writes `train.npy`, `validation.npy`, `split.json` and `report.json` into `out`, in this order. If one of them
    cannot be written, the old files are kept.

    Args:
        validation: share of the training images to hold out, by whole patients, stratified by label. It is rounded to
            1 / N with an integer N: 0.15 becomes 1 / 7.
        pattern: regular expression on the file name whose first group is the patient.
        held_out_group: regular expression on patients. All matching patients go to validation, in addition to the share
            of the others. A group that is not in training can reveal errors that other patients do not show.

    Returns:
        The report: counts, and the excluded files with reasons.

    Raises:
        DataError: `size` is too small, a class is empty, there are too few patients to split, or no patient matches
            `held_out_group`. Its notes are the problems found so far.
        FolderError: `data` is not a folder with train/.
        OSError: a file cannot be read or written.
    """
    if size < LEAST_INPUT_SIZE:
        raise DataError(f"VGG19 halves five times: prepare images of at least {LEAST_INPUT_SIZE} px, not {size}")
    if not 0 < validation < 0.5:
        raise DataError(f"the validation share must lie between 0 and 0.5, got {validation}")
    require_layout(data, lambda folder: (folder / "train").is_dir(), " and ".join(f"train/{label}" for label in LABELS))
    problems: list[str] = []
    pixels: dict[str, Pixels] = {}
    try:
        images = {
            name: _read(data, name, found, size, pattern, pixels, problems)
            for name, found in _find(data, problems).items()
        }
        splits = split(images, problems, validation=validation, seed=seed, held_out_group=held_out_group)
    except DataError as exc:
        for problem in problems:
            exc.add_note(problem)
        raise
    rows = {name: [dataclasses.asdict(image) for image in chosen] for name, chosen in splits.items()}
    how = {"size": size, "seed": seed, "validation": validation, "patient": pattern, "held_out_group": held_out_group}
    report = {
        "data": data.name,
        "size": size,
        "seed": seed,
        "counts": {
            name: {label: sum(p.label == index for p in chosen) for index, label in enumerate(LABELS)}
            | {"patients": len({p.patient for p in chosen})}
            for name, chosen in [*splits.items(), ("test", images.get("test", []))]
        },
        "problems": problems,
    }
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".new-", dir=out) as folder:
        new = Path(folder)
        for name, chosen in splits.items():
            array = np.stack([pixels[image.file] for image in chosen])
            write_atomically(new / f"{name}.npy", functools.partial(_save, array))
        write_json(new / "split.json", how | rows)
        write_json(new / "report.json", report)
        (out / "split.json").unlink(missing_ok=True)  # the folder is invalid until all files are new
        for file in ("train.npy", "validation.npy", "split.json", "report.json"):
            (new / file).replace(out / file)
    return report


def _save(array: Pixels, path: Path) -> None:
    np.save(path, array)


def load(folder: Path) -> Prepared:
    """Load the files that `prepare` wrote.

    Raises:
        DataError: a file is absent or does not belong to the others.
    """
    try:
        split = json.loads((folder / "split.json").read_text(encoding="utf-8"))
        pixels: dict[Split, Pixels] = {name: np.load(folder / f"{name}.npy") for name in ("train", "validation")}
    except FileNotFoundError as exc:
        raise DataError(
            f"{exc.filename} is missing, so {folder} is not prepared: give a folder that `python -m training prepare "
            "--data DATA_SET --out FOLDER` has written"
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


def _find(data: Path, problems: list[str]) -> dict[str, list[tuple[Path, int]]]:
    """Files and labels by split. Any path that is not SPLIT/CLASS/FILE is reported as a problem."""
    names = [name for name in ("train", "val", "test") if (data / name).is_dir()]
    others = [path for path in data.iterdir() if path.name not in names and not path.name.startswith(".")]
    files: dict[str, list[tuple[Path, int]]] = {}
    for name in names:
        files[name], strays = walk(data / name)
        others += strays
    problems += [f"{_printable(path.relative_to(data))}: misplaced, ignored" for path in sorted(others)]
    require_readable(path for found in files.values() for path, _ in found)
    return files


def _printable(path: Path) -> str:
    """A path as text that can be written to any file. Invalid bytes of the name are escaped."""
    return path.as_posix().encode(errors="backslashreplace").decode()


def _read(
    data: Path,
    split: str,
    files: list[tuple[Path, int]],
    size: int,
    pattern: str,
    pixels: dict[str, Pixels],
    problems: list[str],
) -> list[Image]:
    images: list[Image] = []
    untold: list[str] = []
    for path, label in tqdm(files, desc=f"reading {split}", unit="image", leave=False):
        file = path.relative_to(data).as_posix()
        if file != _printable(path.relative_to(data)):
            problems.append(f"{_printable(path.relative_to(data))}: the name is no UTF-8, rename the file")
            continue
        content = read(path)
        try:
            pixels[file] = decode(content, size)
        except InputError as exc:
            problems.append(f"{file}: {exc}")
            continue
        patient = told_patient(file, content, pattern)
        if patient is None:
            untold.append(path.name)
        digest = hashlib.sha256(pixels[file].tobytes()).hexdigest()
        images.append(Image(file, label, patient or file, digest))
    if untold:
        problems.append(
            f"{split}/: {len(untold)} of {len(images)} file names do not tell the patient, such as {untold[0]}; each "
            "counts as a separate patient. If several images show one person, give a regular expression with --patient"
        )
    return images

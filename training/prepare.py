"""Check a data set once and turn it into plain arrays.

    python -m training prepare --data chest_xray --out data/prepared

See `training.dataset` for the layouts of `--data`. Several processes decode the images and write them one by one,
so that memory does not limit the size of a data set.
"""

import contextlib
import dataclasses
import hashlib
import json
import logging
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from handler.contract import LEAST_INPUT_SIZE
from handler.errors import InputError
from handler.files import named, read, write_json
from handler.imaging.decode import Pixels, decode
from training.dataset import AS_IT_IS, DataSet, Item, Reading, read_data_set
from training.errors import DataError
from training.layout import Part
from training.patients import told_patient
from training.processes import map_in_processes
from training.run_files import write_array_header
from training.split import Image, Split, split

log = logging.getLogger(__name__)

SIZE = 224
"""Size of prepared images in pixels. They are augmented at this size and then resized to the size of the epoch."""


@dataclasses.dataclass(frozen=True, slots=True)
class Prepared:
    """A prepared data set."""

    folder: Path
    names: tuple[str, ...]
    """Class names. Of two the second is the positive one."""
    pixels: dict[Split, Pixels]
    """uint8 `[N, S, S]` by split: read-only maps of `train.npy` and `validation.npy` in `folder`."""
    labels: dict[Split, npt.NDArray[np.int64]]
    """`[N]`, indices of `names`."""
    files: dict[Split, list[str]]
    patients: dict[Split, list[str]]

    def understood(self) -> str:
        """The number of images and the classes, in one line."""
        counts = ", ".join(f"{len(files)} images for {name}" for name, files in self.files.items())
        return f"{self.folder}: a prepared folder, {counts} of the classes {', '.join(self.names)}"


def prepare(
    data: Path,
    out: Path,
    *,
    reading: Reading = AS_IT_IS,
    size: int = SIZE,
    validation: float = 0.15,
    seed: int = 0,
    held_out_group: str | None = None,
    workers: int | None = None,
) -> dict[str, Any]:
    """Read, check, decode and split a data set.

    Writes `train.npy`, `validation.npy`, `split.json` and `report.json` into `out`, in this order. If one of them
    cannot be written, the old files are kept.

    Args:
        reading: how to read the data set.
        validation: share of the training images to hold out, by whole patients, stratified by label. It is rounded to
            1 / N with an integer N: 0.15 becomes 1 / 7.
        held_out_group: regular expression on patients. All matching patients go to validation, in addition to the share
            of the others. A group that is not in training can reveal errors that other patients do not show.
        workers: number of processes that decode; by default one for each core.

    Returns:
        The report: counts, and the excluded files with reasons.

    Raises:
        DataError: `size` is too small, a class is empty, there are too few patients to split, or no patient matches
            `held_out_group`. Its notes are the problems that were found before it.
        FolderError: see `training.dataset.read_data_set`.
        OSError: a file cannot be read or written.
    """
    if size < LEAST_INPUT_SIZE:
        raise DataError(
            f"VGG19 halves the size five times: prepare images of at least {LEAST_INPUT_SIZE} px, not {size}"
        )
    if not 0 < validation < 0.5:
        raise DataError(f"the validation share must lie between 0 and 0.5, got {validation}")
    found = read_data_set(data, reading)
    log.info("%s", found.understood())
    problems = list(found.problems)
    with _staging(out) as new:
        try:
            images, rows = _decode_all(found, new, size, reading.patient, problems, workers)
            splits = split(
                images, found.names, problems, validation=validation, seed=seed, held_out_group=held_out_group
            )
        except DataError as exc:
            for problem in problems:
                exc.add_note(problem)
            raise
        for name, chosen in splits.items():
            _write_array(new / f"{name}.npy", new / _ALL, [rows[image.file] for image in chosen], size)
        how = dataclasses.asdict(reading) | {"csv": reading.csv and reading.csv.name}
        about = {
            "names": found.names,
            "data": data.name,
            "kind": found.kind,
            "reading": how,
            "size": size,
            "seed": seed,
            "validation_share": validation,
            "held_out_group": held_out_group,
        }
        listed = {name: [dataclasses.asdict(image) for image in chosen] for name, chosen in splits.items()}
        write_json(new / _SPLIT, about | listed)
        report = {
            "data": data.name,
            "size": size,
            "seed": seed,
            "counts": {
                name: {label: sum(p.label == index for p in chosen) for index, label in enumerate(found.names)}
                | {"patients": len({p.patient for p in chosen})}
                for name, chosen in [*splits.items(), ("test", images.get("test", []))]
            },
            "problems": problems,
        }
        write_json(new / "report.json", report)
        (out / _SPLIT).unlink(missing_ok=True)  # the folder is invalid until all files are replaced
        for file in ("train.npy", "validation.npy", _SPLIT, "report.json"):
            (new / file).replace(out / file)
    return report


def load(folder: Path) -> Prepared:
    """Open the files that `prepare` wrote.

    Raises:
        DataError: a file is absent or does not belong to the others.
    """
    try:
        about = json.loads((folder / _SPLIT).read_text(encoding="utf-8"))
        pixels: dict[Split, Pixels] = {
            name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("train", "validation")
        }
    except FileNotFoundError as exc:
        raise DataError(
            f"{exc.filename} is missing: {folder} is not a prepared folder, give one that `python -m training prepare "
            "--data DATA_SET --out FOLDER` has written"
        ) from exc
    if "names" not in about:
        raise DataError(f"{folder} was prepared by an older release: run `python -m training prepare` again")
    for name, array in pixels.items():
        if len(array) != len(about[name]):
            raise DataError(f"{folder / name}.npy does not belong to {_SPLIT}: run `python -m training prepare` again")
    rows = {name: about[name] for name in pixels}
    return Prepared(
        folder=folder,
        names=tuple(about["names"]),
        pixels=pixels,
        labels={name: np.array([row["label"] for row in rows[name]], dtype=np.int64) for name in rows},
        files={name: [row["file"] for row in rows[name]] for name in rows},
        patients={name: [row["patient"] for row in rows[name]] for name in rows},
    )


_SPLIT = "split.json"
_ALL = "decoded.raw"
"""All decoded images, in one file until the split is known."""


@contextlib.contextmanager
def _staging(out: Path) -> Iterator[Path]:
    """Make a temporary folder in `out`, on the same drive. If `out` is empty afterwards, it is removed."""
    out.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(prefix=".new-", dir=out) as folder:
            yield Path(folder)
    finally:
        with contextlib.suppress(OSError):
            out.rmdir()


@dataclasses.dataclass(frozen=True, slots=True)
class _Decoded:
    sha256: str
    patient: str | None


@dataclasses.dataclass(frozen=True, slots=True)
class _Decoder:
    """Decodes one image in any process, and writes its pixels into a row of the file, if it has a row."""

    size: int
    patient: str
    file: Path

    def __call__(self, job: tuple[Item, int | None]) -> _Decoded | str:
        """Return the decoded image, or why it cannot be used."""
        item, row = job
        content = read(item.path)
        try:
            pixels = decode(content, self.size).tobytes()
        except InputError as exc:
            return str(exc)
        if row is not None:
            with named(self.file), self.file.open("r+b") as file:
                file.seek(row * len(pixels))
                file.write(pixels)
        patient = item.patient or told_patient(item.file, content, self.patient)
        return _Decoded(hashlib.sha256(pixels).hexdigest(), patient)


def _decode_all(
    data: DataSet, folder: Path, size: int, patient: str, problems: list[str], workers: int | None
) -> tuple[dict[Part, list[Image]], dict[str, int]]:
    """Decode all images, and write those for training and validation to `folder / _ALL`.

    Returns:
        Readable images by part, and the row of each file.
    """
    (folder / _ALL).touch()
    rows = {item.file: row for row, item in enumerate(item for item in data.items if item.part != "test")}
    jobs = [(item, rows.get(item.file)) for item in data.items]
    images: dict[Part, list[Image]] = {}
    untold: dict[Part, list[str]] = {}
    decoder = _Decoder(size, patient, folder / _ALL)
    for item, found in zip(data.items, map_in_processes(decoder, jobs, workers, "decoding"), strict=True):
        part = item.part or "train"
        if isinstance(found, str):
            problems.append(f"{item.file}: {found}")
            continue
        if found.patient is None:
            untold.setdefault(part, []).append(item.path.name)
        images.setdefault(part, []).append(Image(item.file, item.label, found.patient or item.file, found.sha256))
    for part, files in untold.items():
        problems.append(
            f"{part}: {len(files)} of {len(images[part])} file names do not name the patient, such as {files[0]}; each "
            "counts as a separate patient. If several images show one person, give a regular expression with --patient"
        )
    images.setdefault("train", [])
    return images, rows


def _write_array(path: Path, source: Path, rows: Sequence[int], size: int) -> None:
    """Copy rows of the decoded images to a NumPy file, uint8 `[N, size, size]`, without reading all into memory."""
    with named(path), source.open("rb") as decoded, path.open("wb") as file:
        write_array_header(file, (len(rows), size, size), np.uint8)
        for row in rows:
            decoded.seek(row * size * size)
            file.write(decoded.read(size * size))

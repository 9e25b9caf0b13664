"""Read the labelled images for the evaluation of a model."""

import dataclasses
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from handler.errors import InputError
from handler.files import read
from handler.imaging.decode import Pixels, decode, squared
from training.dataset import AS_IT_IS, DataSet, Item, Reading, read_data_set
from training.errors import DataError
from training.layout import is_prepared
from training.patients import told_patient
from training.prepare import Prepared, load
from training.progress import progress
from training.run_folder import RunFolder

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, slots=True)
class LabelledImages:
    """Images with their labels, patients and files."""

    names: tuple[str, ...]
    """Class names."""
    pixels: Pixels
    """uint8 `[N, S, S]`."""
    labels: npt.NDArray[np.int64]
    """`[N]`, indices of `names`."""
    files: list[str]
    """Names relative to the data set."""
    patients: list[str]
    part: str
    """The part of the data set: train, validation or test."""
    unreadable: list[str]
    """Files that are left out, each with the reason."""


def open_data(folder: Path, reading: Reading = AS_IT_IS) -> Prepared | DataSet:
    """Open the folder of `--data`, a prepared folder or a data set, and log which of them it is.

    Raises:
        DataError: see `training.prepare.load` and `training.dataset.read_data_set`; also if options for reading a data
            set were given for a prepared folder.
        FolderError: see `training.dataset.read_data_set`.
    """
    if is_prepared(folder):
        return open_prepared(folder, reading)
    data = read_data_set(folder, reading)
    log.info("%s", data.understood())
    return data


def open_prepared(folder: Path, reading: Reading = AS_IT_IS) -> Prepared:
    """Open a prepared folder. See `open_data` for the errors."""
    if dataclasses.replace(reading, patient=AS_IT_IS.patient) != AS_IT_IS:
        raise DataError(
            f"{folder} is a prepared folder, its classes are fixed: leave out --csv, --labels, --positive and "
            "--label-pattern, or give the data set with --data"
        )
    data = load(folder)
    log.info("%s", data.understood())
    return data


def read_labelled(data: Prepared | DataSet, size: int, held_out: RunFolder | None = None) -> LabelledImages:
    """Read the images for an evaluation: the validation images of a prepared folder; the test part of a data set, or
    all its images if it is not divided.

    Args:
        size: width and height in pixels. Images of a prepared folder are resized to it.
        held_out: a run: read only the images of the data set that it held out for validation.

    Raises:
        DataError: the part does not exist, lacks a class, or lacks an image that the run held out.
        OSError: a file cannot be read.
    """
    if isinstance(data, Prepared):
        if held_out:
            raise DataError(
                f"{data.folder} is a prepared folder and has validation images: leave out --validation, or "
                "give the data set with --data"
            )
        return _of_prepared(data, size)
    items, part = (_held_out(data, held_out), "validation") if held_out else _for_evaluation(data)
    pixels, kept, files, patients, unreadable = [], [], [], [], []
    for item in progress(items, "reading"):
        content = read(item.path)
        try:
            pixels.append(decode(content, size))
        except InputError as exc:
            unreadable.append(f"{item.file}: {exc}")
            continue
        kept.append(item.label)
        files.append(item.file)
        patients.append(item.patient or told_patient(item.file, content, data.reading.patient) or item.file)
    if absent := [name for label, name in enumerate(data.names) if label not in kept]:
        lacking = DataError(
            f"{data.folder} has no readable image of {', '.join(absent)} in the part {part}: add images, or choose the "
            "other classes with --labels"
        )
        for problem in unreadable:
            lacking.add_note(problem)
        raise lacking
    return LabelledImages(data.names, np.stack(pixels), np.array(kept), files, patients, part, unreadable)


def _of_prepared(data: Prepared, size: int) -> LabelledImages:
    pixels = data.pixels["validation"]
    if pixels.shape[-1] != size:
        pixels = np.stack([squared(Image.fromarray(image), size) for image in pixels])
    return LabelledImages(
        names=data.names,
        pixels=pixels,
        labels=data.labels["validation"],
        files=data.files["validation"],
        patients=data.patients["validation"],
        part="validation",
        unreadable=[],
    )


def _for_evaluation(data: DataSet) -> tuple[Sequence[Item], str]:
    if data.parts == (None,):
        return data.items, "train" if data.folder.resolve().name == "train" else "test"
    if "test" not in data.parts:
        raise DataError(
            f"{data.folder} has no test part: give only one of its folders, such as {data.items[0].path.parents[1]}, "
            "or the folder that `python -m training prepare` wrote, for its validation images"
        )
    return [item for item in data.items if item.part == "test"], "test"


def _held_out(data: DataSet, run: RunFolder) -> list[Item]:
    items = {item.file: item for item in data.items}
    names = run.read_split().validation
    if gone := next((name for name in names if name not in items), None):
        raise DataError(
            f"{data.folder / gone} of the run's split is missing: give the data set that the run was trained on, "
            "with the same options"
        )
    return [items[name] for name in names]

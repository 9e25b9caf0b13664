"""Read a data set, as `--data` and its options describe it: its files, and the class, the part (train, val or test) and
the patient of each file.

- PART/CLASS/FILE: parts and classes by folder
- CLASS/FILE: classes by folder; the images are split into training and validation by patient; there is no test part
- `--csv FILE`: see `training.table`

A class has the name of its folder. Names that differ only in case are one class.
"""

import collections
import dataclasses
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from handler.files import require_readable
from training.errors import DataError
from training.layout import Found, Part, find, require_folder
from training.patients import PATIENT
from training.table import read_table

WELL_KNOWN = ("NORMAL", "PNEUMONIA")
"""Classes with a fixed spelling, which is that of the bundle in this repository."""

_HEALTHY = ("normal", "no finding")
"""Of two classes, one of these is the negative one by default."""


@dataclasses.dataclass(frozen=True, slots=True)
class Reading:
    """How to read a data set. By default each folder has the name of its class."""

    csv: Path | None = None
    """See `training.table`."""
    labels: tuple[str, ...] = ()
    """The classes to use, in this order; all by name if empty. Images of other classes are left out."""
    positive: str | None = None
    """Of two classes the positive one. By default the one that is not healthy, otherwise the last one."""
    label_pattern: str | None = None
    """Regular expression on file names: where it matches, its first group in upper case is the class."""
    patient: str = PATIENT
    """Regular expression on file names whose first group is the patient, see `training.patients`."""


AS_IT_IS = Reading()


@dataclasses.dataclass(frozen=True, slots=True)
class Item:
    """A file of a data set."""

    path: Path
    file: str
    """The path relative to the data set's folder, with forward slashes."""
    label: int
    part: Part | None
    patient: str | None
    """From a table; None if it is to be read from the header or the name of the file."""


@dataclasses.dataclass(frozen=True, slots=True)
class DataSet:
    """The files of a data set."""

    folder: Path
    names: tuple[str, ...]
    """Class names. Of two the second is the positive one."""
    items: tuple[Item, ...]
    """Sorted by part, class and path."""
    problems: tuple[str, ...]
    """One line for each kind of exclusion, with the reason."""
    kind: str
    """The detected layout of the folder."""
    reading: Reading

    @property
    def parts(self) -> tuple[Part | None, ...]:
        """The parts of the data set; `(None,)` if it is not divided."""
        return tuple(dict.fromkeys(item.part for item in self.items))

    def understood(self) -> str:
        """The detected layout, the number of files and the classes, in one line."""
        return f"{self.folder}: {self.kind}, {len(self.items)} files of the classes {', '.join(self.names)}"


def read_data_set(folder: Path, reading: Reading = AS_IT_IS) -> DataSet:
    """List the files of a data set, and check that all of them can be read.

    Raises:
        FolderError: the folder does not exist, is an archive, or does not hold a data set.
        DataError: there are fewer than two classes, an option names an unknown class, or the table is invalid.
        OSError: a folder or a file cannot be read; names the first one.
    """
    problems: list[str] = []
    if reading.csv:
        require_folder(folder)
        found, kind = read_table(reading.csv, folder, problems), f"the images of {reading.csv}"
    else:
        found, strays, kind = find(folder)
        problems += [f"{printable(path.relative_to(folder))}: misplaced, ignored" for path in sorted(strays)]
    found = [_relabelled(each, reading.label_pattern) for each in found]
    names = _names(found, reading)
    index = {name.casefold(): label for label, name in enumerate(names)}
    items: list[Item] = []
    left_out: collections.Counter[str] = collections.Counter()
    for each in found:
        labels = {index[label.casefold()] for label in each.labels if label.casefold() in index}
        relative = Path(os.path.relpath(each.path, folder))
        if len(labels) != 1 or (len(each.labels) > 1 and not reading.labels):
            left_out[each.labels[0] if len(each.labels) == 1 else "several findings"] += 1
        elif relative.as_posix() != printable(relative):
            problems.append(f"{printable(relative)}: the name is not UTF-8, rename the file")
        else:
            items.append(Item(each.path, relative.as_posix(), labels.pop(), each.part, each.patient))
    for label, count in sorted(left_out.items()):
        problems.append(f"{label}: {count} images are left out: they do not have exactly one of the classes in use")
    _require_classes(items, names, folder)
    items.sort(key=lambda item: (_ORDER.index(item.part), item.label, item.path))
    require_readable(item.path for item in items)
    return DataSet(folder, names, tuple(items), tuple(problems), kind, reading)


_ORDER: tuple[Part | None, ...] = (None, "train", "val", "test")


def printable(path: Path) -> str:
    """Return a path as text that can be written to any file. Invalid bytes are escaped."""
    return path.as_posix().encode(errors="backslashreplace").decode()


def matched(names: Sequence[str], expected: Sequence[str], what: str) -> list[int]:
    """Return, for each class of the data, its index in the classes of a model. Order and spelling may differ.

    Args:
        names: class names of the data.
        expected: class names of the model.
        what: name of the data in the message.

    Raises:
        DataError: the classes differ.
    """
    index = {name.casefold(): label for label, name in enumerate(expected)}
    if index.keys() != {name.casefold() for name in names}:
        raise DataError(
            f"the classes of {what} are {', '.join(names)}, those of the model are {', '.join(expected)}: give data "
            f"with the model's classes, rename its folders, or choose classes with --labels {','.join(expected)}"
        )
    return [index[name.casefold()] for name in names]


def _relabelled(found: Found, pattern: str | None) -> Found:
    match = re.search(pattern, found.path.name) if pattern else None
    return dataclasses.replace(found, labels=(match[1].upper(),)) if match and match[1] else found


def _names(found: Iterable[Found], reading: Reading) -> tuple[str, ...]:
    """The classes in use, in their order."""
    known = {name.casefold(): name for name in WELL_KNOWN}
    spelled: dict[str, str] = {}
    for each in found:
        for label in each.labels:
            spelled.setdefault(label.casefold(), known.get(label.casefold(), label))
    names = sorted(spelled.values(), key=str.casefold)
    if reading.labels:
        names = [_chosen(label, spelled, "--labels") for label in reading.labels]
        if len(set(names)) < len(names):
            raise DataError(f"--labels names a class twice: {', '.join(reading.labels)}")
    if len(names) < 2:
        raise DataError(
            f"there is no second class ({', '.join(names) or 'none'}): training needs images of two or more classes"
        )
    if len(names) > 2:
        if reading.positive:
            raise DataError(
                f"--positive needs two classes, and there are {len(names)}: choose two with --labels, or leave it out"
            )
        return tuple(names)
    sick = [name for name in names if name.casefold() not in _HEALTHY]
    positive = _chosen(reading.positive, spelled, "--positive") if reading.positive else (sick or names)[-1]
    if positive not in names:
        raise DataError(f"--positive {positive} is not one of the classes in use, {', '.join(names)}")
    return (next(name for name in names if name != positive), positive)


def _chosen(label: str, spelled: dict[str, str], option: str) -> str:
    name = spelled.get(label.casefold())
    if name is None:
        raise DataError(f"{option} names {label!r}, but the classes are {', '.join(sorted(spelled.values()))}")
    return name


def _require_classes(items: Iterable[Item], names: Sequence[str], folder: Path) -> None:
    present = {item.label for item in items}
    if absent := [name for label, name in enumerate(names) if label not in present]:
        raise DataError(f"{folder} has no image of only {', '.join(absent)}: choose other classes with --labels")

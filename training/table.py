"""Read a CSV file with the label of each image.

It needs the columns `path` and `label`, and may have `patient` and `split`. The tables of the RSNA Pneumonia Detection
Challenge and of NIH ChestX-ray14 are supported without changes.
"""

import csv
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from training.errors import DataError
from training.layout import PARTS, Found, Part

_COLUMNS = {
    "path": ("path", "file", "filename", "image", "image index", "patientid"),
    "label": ("label", "target", "class", "finding labels"),
    "patient": ("patient", "patient id", "patient_id", "patientid"),
    "split": ("split",),
}
"""Names of each column in lower case, the preferred one first."""

_RSNA = "patientid"
"""This column contains the patient, and the name of the file PATIENTID.dcm."""
_TARGET: Mapping[str, str] = {"0": "NORMAL", "1": "PNEUMONIA"}
"""Classes by value of RSNA's column `Target`."""
_FINDINGS = "finding labels"
"""NIH's column: findings, separated by |."""


def read_table(file: Path, folder: Path, problems: list[str]) -> list[Found]:
    """Read the images of a CSV file.

    Args:
        file: UTF-8, with a header; columns are separated by commas, semicolons or tabs.
        folder: paths are relative to it or to the folder of `file`. A file name alone is searched in all subfolders.
        problems: a line is appended for rows that are left out.

    Raises:
        DataError: a column or a value is missing, no row names a file, or a file has two labels.
        OSError: the file cannot be read.
    """
    rows, columns = _read(file)
    locate = _Locator(folder, file.parent)
    found: dict[Path, Found] = {}
    gone: list[str] = []
    for line, row in rows:
        name = row[columns["path"]].strip()
        name = f"{name}.dcm" if columns["path"] == _RSNA else name.replace("\\", "/")
        path = locate(name)
        if path is None:
            gone.append(f"line {line}, {name}")
            continue
        patient = row[columns["patient"]].strip() if "patient" in columns else ""
        labels = _labels(row[columns["label"]], columns["label"])
        if not labels:
            raise DataError(f"{file}, line {line}: the column {columns['label']!r} is empty: give {name} a label")
        part = _part(row[columns["split"]], f"{file}, line {line}") if "split" in columns else None
        new = Found(path, labels, part, patient or None)
        old = found.setdefault(path, new)
        if old != new:
            raise DataError(
                f"{file}, line {line}: {name} has another label, patient or split in an earlier row: keep one"
            )
    if not found:
        example = f", such as {gone[0]}" if gone else ""
        raise DataError(
            f"no row of {file} names a file below {folder}{example}: give the folder of the images with --data"
        )
    if gone:
        problems.append(
            f"{file.name}: {len(gone)} rows do not name an existing file, such as {gone[0]}; they are left out"
        )
    if columns["label"] == "target":
        problems.append(f"{file.name}: Target 0 counts as {_TARGET['0']}, even if there are other findings")
    return list(found.values())


def _read(file: Path) -> tuple[list[tuple[int, dict[str, str]]], dict[str, str]]:
    """Read the rows, with line numbers and by column name in lower case, and the names of the columns that exist."""
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as exc:
        raise DataError(f"{file} is not UTF-8 text: save it as CSV in UTF-8") from exc
    lines = text.splitlines() or [""]
    reader = csv.reader(lines, delimiter=max(",;\t", key=lines[0].count))
    header = [name.strip().casefold() for name in next(reader)]
    columns = {
        column: found for column, names in _COLUMNS.items() if (found := next((n for n in names if n in header), None))
    }
    for column in ("path", "label"):
        if column not in columns:
            raise DataError(
                f"{file} has no column {column!r}: rename one of its columns, {', '.join(map(repr, header))}"
            )
    rows = []
    for row in reader:
        if len(row) not in (0, len(header)):
            raise DataError(f"{file}, line {reader.line_num}: {len(row)} values for {len(header)} columns: correct it")
        if row:
            rows.append((reader.line_num, dict(zip(header, row, strict=True))))
    return rows, columns


def _labels(value: str, column: str) -> tuple[str, ...]:
    value = value.strip()
    if column == "target":
        return (_TARGET.get(value, value),) if value else ()
    parts = value.split("|") if column == _FINDINGS else [value]
    return tuple(part.strip() for part in parts if part.strip())


def _part(value: str, where: str) -> Part:
    part = PARTS.get(value.strip().casefold())
    if part is None:
        raise DataError(
            f"{where}: {value!r} is not a split: write train, val or test in every row, or remove the column"
        )
    return part


class _Locator:
    """Finds the file of a row."""

    def __init__(self, *folders: Path) -> None:
        self._folders = folders
        self._anywhere: dict[str, Path | None] | None = None

    def __call__(self, name: str) -> Path | None:
        """Return the path of a file; None if there is no such file, or several with this name."""
        if not name:
            return None
        if found := next((path for folder in self._folders if (path := folder / name).is_file()), None):
            return found
        if "/" in name:
            return None
        if self._anywhere is None:
            self._anywhere = {}
            for path in _below(self._folders[0]):
                self._anywhere[path.name] = None if path.name in self._anywhere else path
        return self._anywhere.get(name)


def _below(folder: Path) -> Iterator[Path]:
    for parent, folders, files in os.walk(folder):
        folders.sort()
        yield from (Path(parent, name) for name in files)

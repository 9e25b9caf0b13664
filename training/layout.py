"""Find the images of a data set in its folders, and name the command that unpacks an archive."""

import dataclasses
import shlex
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from handler.errors import FolderError

Part = Literal["train", "val", "test"]
PARTS: dict[str, Part] = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
"""The parts of a data set, by the name of a folder or a value in a CSV file, in lower case."""

EXPECTED = (
    "a data set with folders such as train/CLASS or CLASS, of two or more classes, or a folder that `python -m "
    "training prepare` has written; with --csv any folder of images"
)

_IMAGES = {".jpg", ".jpeg", ".png", ".dcm", ".dicom", ".webp", ".bmp", ".tif", ".tiff", ".gif", ""}
"""Suffixes; DICOM files often have none."""

_ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz")
_INNER = "images"
"""Folders to ignore: some data sets have CLASS/images and CLASS/masks."""


@dataclasses.dataclass(frozen=True, slots=True)
class Found:
    """A file of the data set, with the properties that its folder or its row gives."""

    path: Path
    labels: tuple[str, ...]
    """Usually one class name, in the original spelling; the tables of some data sets list several findings."""
    part: Part | None = None
    patient: str | None = None


def is_prepared(folder: Path) -> bool:
    """Return whether `training.prepare` has written the folder."""
    return (folder / "train.npy").is_file()


def visible(folder: Path) -> list[Path]:
    """Return the sorted files and folders in a folder, without hidden ones and those that macOS adds to archives."""
    return sorted(path for path in folder.iterdir() if not path.name.startswith(".") and path.name != "__MACOSX")


def part_folders(folder: Path) -> list[tuple[Part, Path]]:
    """Return the part folders in a folder: those that contain a class folder."""
    found = [(PARTS[path.name.casefold()], path) for path in visible(folder) if path.name.casefold() in PARTS]
    return [(part, path) for part, path in found if path.is_dir() and any(each.is_dir() for each in visible(path))]


def class_folders(folder: Path) -> list[Path]:
    """Return the folders in a folder that contain images."""
    return [path for path in visible(folder) if path.is_dir() and _holds_images(path)]


def find(folder: Path) -> tuple[list[Found], list[Path], str]:
    """Find the files of a data set PART/CLASS/FILE or CLASS/FILE.

    Returns:
        The files; all other files and folders, which are ignored; and the detected layout.

    Raises:
        FolderError: see `require_data`.
        OSError: a folder cannot be read.
    """
    require_data(folder)
    if is_prepared(folder):
        raise FolderError(f"{folder} is a prepared folder: give the data set that it was made from", folder)
    parts = part_folders(folder)
    if not parts:
        files, strays = _walk(folder, None)
        return files, strays, "a data set with one folder for each class"
    used = {path for _, path in parts}
    strays = [path for path in visible(folder) if path not in used]
    files = []
    for part, path in parts:
        some, others = _walk(path, part)
        files += some
        strays += others
    return files, strays, f"a data set with {', '.join(path.name for _, path in parts)}"


def require_data(folder: Path) -> None:
    """Check that a folder holds a data set or prepared images.

    Raises:
        FolderError: the folder does not exist, is a file or an archive, or has another layout. Its `instead` is a
            nearby folder with a data set, if there is one.
    """
    require_folder(folder)
    if _fits(folder):
        return
    nearby = [*_below(folder), *([folder.parent] if _holds_images(folder) else [])]
    if instead := next((path for path in nearby if path.is_dir() and _fits(path)), None):
        raise FolderError(f"{folder} is not a data set, but {instead} is: give that folder", folder, instead)
    if archive := next((path for path in nearby if path.name.lower().endswith(_ARCHIVES) and path.is_file()), None):
        raise FolderError(
            f"{folder} holds the archive {archive}: unpack it with `{_unpacking(archive)}`, then run the same command "
            "again",
            folder,
        )
    if classes := class_folders(folder):
        raise FolderError(f"{folder} holds images of only one class, {classes[0].name}: give {EXPECTED}", folder)
    raise FolderError(f"{folder} is not a data set: give {EXPECTED}", folder)


def require_folder(folder: Path) -> None:
    """Check that a folder exists.

    Raises:
        FolderError: it does not exist, or is a file or an archive.
    """
    if not folder.exists():
        raise FolderError(f"{folder} does not exist: check the path, and that its drive is connected", folder)
    if folder.is_dir():
        return
    if how := _unpacking(folder):
        raise FolderError(f"{folder} is an archive: unpack it with `{how}`, then give the unpacked folder", folder)
    if folder.suffix.lower() == ".csv":
        raise FolderError(f"{folder} is a table: give it with --csv, and the folder of its images with --data", folder)
    raise FolderError(f"{folder} is a file: give the folder that holds the data set", folder)


def _fits(folder: Path) -> bool:
    return is_prepared(folder) or bool(part_folders(folder)) or len(class_folders(folder)) > 1


def _below(folder: Path) -> Iterator[Path]:
    for path in visible(folder):
        yield path
        if path.is_dir():
            yield from visible(path)


def _holds_images(folder: Path) -> bool:
    if any(path.suffix.lower() in _IMAGES and path.is_file() for path in visible(folder)):
        return True
    return (folder / _INNER).is_dir() and _holds_images(folder / _INNER)


def _unpacking(archive: Path) -> str | None:
    """Return the command that unpacks an archive; None for other files."""
    if zipfile.is_zipfile(archive):
        return shlex.join(["unzip", str(archive), "-d", str(archive.with_suffix(""))])
    if tarfile.is_tarfile(archive):
        return shlex.join(["tar", "-xf", str(archive), "-C", str(archive.parent)])
    return None


def _walk(folder: Path, part: Part | None) -> tuple[list[Found], list[Path]]:
    """Return the files of the class folders below a folder, and all other files and folders."""
    found: list[Found] = []
    strays: list[Path] = []
    for path in visible(folder):
        if not path.is_dir():
            strays.append(path)
            continue
        for file in visible(path):
            if file.is_file():
                found.append(Found(file, (path.name,), part))
            elif file.name == _INNER and file.is_dir():
                inner = visible(file)
                found += [Found(each, (path.name,), part) for each in inner if each.is_file()]
                strays += [each for each in inner if not each.is_file()]
            else:
                strays.append(file)
    return found, strays

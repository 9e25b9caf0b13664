"""File functions for every package: write and replace files atomically, and list labelled images."""

import errno
import json
import os
import shlex
import shutil
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from handler.contract import LABELS
from handler.errors import FolderError


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a temporary file beside `path`, then rename it to `path`. After an interrupt, `path` is
    the complete old file or the complete new one.

    The temporary name has the same suffix as `path`, because some writers choose their format by the suffix.

    Raises:
        OSError: always names `path`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        write(temporary)
        temporary.replace(path)
    except OSError as exc:
        if exc.errno is None:  # NumPy and HDF5 do not give the reason
            raise OSError(errno.ENOSPC, f"cannot be written ({exc})", str(path)) from exc
        raise OSError(exc.errno, exc.strerror, str(path)) from exc
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Write a value as indented JSON, atomically."""
    text = json.dumps(value, indent=2, ensure_ascii=False) + "\n"
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def read(path: Path) -> bytes:
    """The bytes of a file.

    Raises:
        OSError: always names `path`, even if the drive fails after the file was opened.
    """
    try:
        return path.read_bytes()
    except OSError as exc:
        raise OSError(exc.errno, exc.strerror, str(path)) from exc


def require_readable(paths: Iterable[Path]) -> None:
    """Check before long work that all these files can be read.

    Raises:
        OSError: a file cannot be read; names the first one.
    """
    for path in paths:
        try:
            with path.open("rb") as file:
                file.read(1)
        except OSError as exc:
            raise OSError(exc.errno, exc.strerror, str(path)) from exc


def require_writable(folder: Path) -> None:
    """Check before long work that files can be written into a folder. The folder need not exist yet, and is not
    created.

    Raises:
        OSError: the folder is a file, is below a file, or cannot be written.
    """
    there = next(path for path in (folder, *folder.absolute().parents) if os.path.lexists(path))
    if not there.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(there))
    try:
        with tempfile.TemporaryFile(dir=there) as file:
            file.write(b"\0")
    except OSError as exc:
        raise OSError(exc.errno, exc.strerror, str(there)) from exc


def require_replaceable(folder: Path, mark: str) -> None:
    """Check before long work that `replace_folder` may replace a folder.

    Raises:
        FileExistsError: the folder contains files, but no file named `mark`: they would be deleted.
    """
    if folder.exists() and not (folder / mark).is_file() and any(folder.iterdir()):
        raise FileExistsError(
            f"{folder} holds other files, which would be deleted: name a new folder, such as {folder / 'bundle'}"
        )


def replace_folder(new: Path, old: Path, mark: str) -> None:
    """Replace the folder `old` by the finished folder `new`. Both are renamed, so no reader sees an incomplete folder.

    Raises:
        FileExistsError: see `require_replaceable`.
    """
    require_replaceable(old, mark)
    retired = old.with_name(f".{old.name}.old")
    shutil.rmtree(retired, ignore_errors=True)
    if old.exists():
        old.rename(retired)
    new.rename(old)
    shutil.rmtree(retired, ignore_errors=True)


def label_of(folder: str) -> int | None:
    """The index of the label with the name of a folder, in upper or lower case; None for other folders."""
    return next((index for index, label in enumerate(LABELS) if label.casefold() == folder.casefold()), None)


def walk(folder: Path) -> tuple[list[tuple[Path, int]], list[Path]]:
    """Find the files of the class folders `NORMAL` and `PNEUMONIA`, in upper or lower case, below a folder.

    Hidden files are skipped.

    Returns:
        The files, each with the index of its label, sorted by label and path; and all other files and folders, which
        are ignored.

    Raises:
        OSError: a folder cannot be read.
    """
    found: list[tuple[Path, int]] = []
    others: list[Path] = []
    for path in _visible(folder):
        label = label_of(path.name)
        if label is None or not path.is_dir():
            others.append(path)
            continue
        for file in _visible(path):
            if file.is_file():
                found.append((file, label))
            else:
                others.append(file)
    return sorted(found, key=lambda each: (each[1], each[0])), others


def _visible(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def labelled_files(folder: Path) -> list[tuple[Path, int]]:
    """The files that `walk` finds.

    Raises:
        FolderError: the folder or one of its classes is absent or empty; the message names the remedy.
        OSError: a folder or a file cannot be read.
    """
    expected = " and ".join(f"{label}/" for label in LABELS)
    require_layout(folder, _has_classes, expected)
    found, _ = walk(folder)
    for index, label in enumerate(LABELS):
        if not any(of == index for _, of in found):
            raise FolderError(f"{folder / label} holds no files: {folder} must hold {expected} with images", folder)
    require_readable(path for path, _ in found)
    return found


def _has_classes(folder: Path) -> bool:
    return any((path.is_dir() and label_of(path.name) is not None) for path in folder.iterdir())


def require_layout(folder: Path, fits: Callable[[Path], bool], expected: str) -> None:
    """Check the layout of a folder that a command was given.

    Args:
        fits: whether a folder has the required layout.
        expected: the required content, for the message.

    Raises:
        FolderError: the folder does not exist, is a file or an archive, or has another layout. Its `instead` is a
            nearby folder with the required layout, if there is one.
    """
    if not folder.exists():
        raise FolderError(f"{folder} does not exist: check the path, and that its drive is connected", folder)
    if not folder.is_dir():
        import tarfile
        import zipfile

        if zipfile.is_zipfile(folder):
            how = shlex.join(["unzip", str(folder), "-d", str(folder.with_suffix(""))])
        elif tarfile.is_tarfile(folder):
            how = shlex.join(["tar", "-xf", str(folder), "-C", str(folder.parent)])
        else:
            raise FolderError(f"{folder} is a file: give the folder that holds {expected}", folder)
        raise FolderError(
            f"{folder} is an archive: unpack it with `{how}`, then give the folder that holds {expected}", folder
        )
    if fits(folder):
        return
    deeper = [path for pattern in ("*", "*/*") for path in sorted(folder.glob(pattern)) if path.is_dir()]
    # The archive program of macOS adds a folder with this name and the same structure.
    deeper = [path for path in deeper if not {"__MACOSX"}.intersection(path.relative_to(folder).parts)]
    if instead := next((path for path in (*deeper, folder.parent) if fits(path)), None):
        raise FolderError(f"{folder} does not hold {expected}, but {instead} does: give that", folder, instead)
    raise FolderError(f"{folder} does not hold {expected}: give the folder that does", folder)

"""What every package does with files: write and replace them whole, and walk a labelled folder."""

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
    """Let `write` fill a temporary file beside `path`, then rename it into place: an interrupt leaves the old file
    or the new one, never half of one.

    The temporary name ends like the final one, because several writers choose their format by it.

    Raises:
        OSError: it names `path`, whatever `write` tells.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        write(temporary)
        temporary.replace(path)
    except OSError as exc:
        if exc.errno is None:  # NumPy and HDF5 tell no more than that something is missing
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
        OSError: it names `path`, even where the file could be opened and the drive fails later.
    """
    try:
        return path.read_bytes()
    except OSError as exc:
        raise OSError(exc.errno, exc.strerror, str(path)) from exc


def require_readable(paths: Iterable[Path]) -> None:
    """Say before long work whether all these files can be read.

    Raises:
        OSError: the first that cannot.
    """
    for path in paths:
        try:
            with path.open("rb") as file:
                file.read(1)
        except OSError as exc:
            raise OSError(exc.errno, exc.strerror, str(path)) from exc


def require_writable(folder: Path) -> None:
    """Say before long work whether files can be written into a folder, which need not exist yet. Nothing is left there.

    Raises:
        OSError: it is a file, or lies below one, or may not be written.
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
    """Say before long work whether `replace_folder` will do.

    Raises:
        FileExistsError: the folder holds files, and none that is called `mark`: they would be lost.
    """
    if folder.exists() and not (folder / mark).is_file() and any(folder.iterdir()):
        raise FileExistsError(
            f"{folder} holds other files, which would be deleted: name a new folder, such as {folder / 'bundle'}"
        )


def replace_folder(new: Path, old: Path, mark: str) -> None:
    """Put the finished folder `new` where `old` is; renames, so that neither is ever seen half-written.

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
    """The index of the label that a folder is named after, in whatever case; None for other folders."""
    return next((index for index, label in enumerate(LABELS) if label.casefold() == folder.casefold()), None)


def walk(folder: Path) -> tuple[list[tuple[Path, int]], list[Path]]:
    """Find the files of the class folders `NORMAL` and `PNEUMONIA`, in whatever case, below a folder.

    Hidden files are passed over.

    Returns:
        The files, each with the index of its label, sorted by both; and all else that is there, which is ignored.

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
        FolderError: the folder or one of its classes is absent or empty; the message says what to give instead.
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
    """Say what is wrong with a folder that a command was given.

    Args:
        fits: whether a folder is laid out as it must be.
        expected: what it must hold, for the message.

    Raises:
        FolderError: the folder is not there, is a file or an archive, or does not fit; its `instead` is a folder nearby
            that does.
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
    # The Mac's archiver puts a folder with this name and the same structure beside the files.
    deeper = [path for path in deeper if not {"__MACOSX"}.intersection(path.relative_to(folder).parts)]
    if instead := next((path for path in (*deeper, folder.parent) if fits(path)), None):
        raise FolderError(f"{folder} does not hold {expected}, but {instead} does: give that", folder, instead)
    raise FolderError(f"{folder} does not hold {expected}: give the folder that does", folder)

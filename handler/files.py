"""File functions for all packages: check files before long work, and write and replace them atomically."""

import contextlib
import errno
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a temporary file beside `path`, then rename it to `path`. After an interrupt, `path` is
    the complete old file or the complete new one.

    The temporary name has the same suffix as `path`, because some writers choose their format by the suffix.

    Raises:
        OSError: the file cannot be written; the error always names `path`.
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


@contextlib.contextmanager
def named(path: Path) -> Iterator[None]:
    """Add the file's name to errors of the operating system that lack it, such as a full disk."""
    try:
        yield
    except OSError as exc:
        if exc.errno is None or exc.filename:
            raise
        raise OSError(exc.errno, exc.strerror, str(path)) from exc


def write_json(path: Path, value: Any) -> None:
    """Write a value as indented JSON, atomically."""
    text = json.dumps(value, indent=2, ensure_ascii=False) + "\n"
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def read(path: Path) -> bytes:
    """Read the bytes of a file.

    Raises:
        OSError: the file cannot be read; the error always names `path`, even if the drive fails after opening.
    """
    with named(path):
        return path.read_bytes()


def require_readable(paths: Iterable[Path]) -> None:
    """Check before long work that all these files can be read.

    Raises:
        OSError: a file cannot be read; names the first one.
    """
    for path in paths:
        with named(path), path.open("rb") as file:
            file.read(1)


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
            f"{folder} holds other files, which would be deleted: give a new folder, such as {folder / 'bundle'}"
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

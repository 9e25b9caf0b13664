"""What every room does with files: write and replace them whole, and walk a labelled folder."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from handler.contract import LABELS


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a temporary file beside `path`, then rename it into place: an interrupt leaves the old file
    or the new one, never half of one.

    The temporary name ends like the final one, because several writers choose their format by it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        write(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Write a value as indented JSON, atomically."""
    text = json.dumps(value, indent=2, ensure_ascii=False) + "\n"
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


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


def labelled_files(folder: Path) -> list[tuple[Path, int]]:
    """The files of `folder/NORMAL` and `folder/PNEUMONIA`, sorted, each with the index of its label.

    Hidden files are passed over.

    Raises:
        FileNotFoundError: the folder or one of its classes is absent or empty; the message says what was expected.
    """
    found: list[tuple[Path, int]] = []
    for index, label in enumerate(LABELS):
        below = folder / label
        names = sorted(path for path in below.glob("*") if path.is_file() and not path.name.startswith("."))
        if not names:
            expected = " and ".join(f"{folder.name}/{name}/" for name in LABELS)
            raise FileNotFoundError(f"{below} holds no files: expected {expected} with pictures")
        found += [(path, index) for path in names]
    return found

"""Read and write the files of a run folder. An unreadable file raises `RunError`. Files are replaced atomically."""

import csv
import functools
import json
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np
import numpy.typing as npt

from handler.files import write_atomically
from training.errors import ConfigError, RunError

T = TypeVar("T")


def read_json(path: Path, parse: Callable[[Mapping[str, Any]], T]) -> T:
    return translated(path, lambda: parse(json.loads(path.read_text(encoding="utf-8"))))


def translated(path: Path, read: Callable[[], T]) -> T:
    try:
        return read()
    except FileNotFoundError as exc:
        raise RunError(
            f"{path} is missing: give the folder of a finished `python -m training fit`; the same fit command finishes "
            "an interrupted one"
        ) from exc
    except OSError as exc:
        raise RunError(f"{path} cannot be read ({exc.strerror}): check the path and its permissions") from exc
    except (ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, ConfigError) as exc:
        raise RunError(f"{path} was not written by this release, or is damaged: train again ({exc!r})") from exc


def read_arrays(path: Path) -> dict[str, npt.NDArray[Any]]:
    with np.load(path) as stored:
        return dict(stored)


def write_arrays(path: Path, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    write_atomically(path, functools.partial(np.savez, **arrays))  # type: ignore[arg-type]


def write_array_header(file: BinaryIO, shape: tuple[int, ...], dtype: npt.DTypeLike) -> int:
    """Write the header of a `.npy` file, and return its length in bytes. The rows follow, in any order."""
    header = {"descr": np.lib.format.dtype_to_descr(np.dtype(dtype)), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)
    return file.tell()


def write_table(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows as CSV, with a column for each key of any row."""
    columns = list(dict.fromkeys(name for row in rows for name in row))

    def write(temporary: Path) -> None:
        with temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            writer.writerows(rows)

    write_atomically(path, write)

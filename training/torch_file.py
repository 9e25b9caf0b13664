"""Read the tensors of a PyTorch file of the kind before version 1.6, without PyTorch.

Such a file is a row of pickles (a magic number, a version, the machine's type sizes, the tensors, the order of their
storages) and then the storages themselves: a count of elements, and the elements.
"""

import collections
import pickle
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt

from training.errors import WeightsError

Array = npt.NDArray[Any]

_TYPES: dict[str, np.dtype[Any]] = {"FloatStorage": np.dtype("<f4"), "LongStorage": np.dtype("<i8")}


class _Storage(NamedTuple):
    kind: str
    key: str


class _Tensor(NamedTuple):
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    """In elements."""


class _Unpickler(pickle.Unpickler):
    """Knows what a state dictionary is made of, and refuses to look up anything else: a pickle could run any code."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda storage, offset, shape, strides, *_: _Tensor(storage, offset, shape, strides)
        if module == "torch" and name in _TYPES:
            return name
        raise pickle.UnpicklingError(f"a file of weights has no use for {module}.{name}")

    def persistent_load(self, pid: Any) -> _Storage:
        _, kind, key, *_ = pid
        return _Storage(kind, key)


def read_tensors(path: Path) -> dict[str, Array]:
    """The tensors of a saved state dictionary by name, float32 or int64.

    Raises:
        WeightsError: the file is absent, of another kind, or names anything but tensors.
    """
    try:
        with path.open("rb") as file:
            for _ in range(3):
                _Unpickler(file).load()
            state: dict[str, _Tensor] = _Unpickler(file).load()
            kinds = {tensor.storage.key: _TYPES[tensor.storage.kind] for tensor in state.values()}
            storages = {key: _read_storage(file, kinds[key]) for key in _Unpickler(file).load()}
        return {name: _view(storages[tensor.storage.key], tensor) for name, tensor in state.items()}
    except (OSError, EOFError, KeyError, TypeError, ValueError, AttributeError, pickle.UnpicklingError) as exc:
        raise WeightsError(f"{path} holds no weights that can be read: install its package again ({exc})") from exc


def _read_storage(file: BinaryIO, kind: np.dtype[Any]) -> Array:
    count = int.from_bytes(file.read(8), "little")
    return np.frombuffer(file.read(count * kind.itemsize), kind, count)


def _view(storage: Array, tensor: _Tensor) -> Array:
    steps = [stride * storage.itemsize for stride in tensor.strides]
    return np.lib.stride_tricks.as_strided(storage[tensor.offset :], tensor.shape, steps).copy()

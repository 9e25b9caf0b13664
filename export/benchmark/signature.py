"""The inputs of an ONNX model, read from its signature, and random values for them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from export.errors import BenchmarkError

MAX_TOKEN = 2
"""Random integers stay below it, because they may be indices: every table has two rows."""


@dataclass(frozen=True, slots=True)
class Input:
    """An input with all its dimensions."""

    name: str
    dtype: str
    """As NumPy names it."""
    shape: tuple[int, ...]

    def noise(self) -> npt.NDArray[Any]:
        """Seeded random values: floats in 0..1, uint8 in 0..255, and other integers in 0..1."""
        generator, dtype = np.random.default_rng(0), np.dtype(self.dtype)
        if dtype.kind == "f":
            return generator.random(self.shape).astype(dtype)
        return generator.integers(0, 256 if dtype == np.uint8 else MAX_TOKEN, self.shape).astype(dtype)


def read_inputs(path: Path, batch: int, size: int | None) -> tuple[Input, ...]:
    """The inputs of an ONNX model.

    Args:
        path: the model's file.
        batch: replaces the first dimension where it is free.
        size: replaces all other free dimensions.

    Raises:
        BenchmarkError: the file is no ONNX model; it has no inputs or other types than numbers; its batch is fixed and
            not `batch`; or a dimension is free and `size` is not given.
    """
    import onnx

    try:
        graph = onnx.load(path, load_external_data=False).graph
    except Exception as exc:  # protobuf raises many kinds
        raise BenchmarkError(f"{path} cannot be read as an ONNX model: {exc}") from exc
    constants = {tensor.name for tensor in graph.initializer}
    values = [value for value in graph.input if value.name not in constants]
    if not values:
        raise BenchmarkError(f"{path} has no inputs: give an ONNX model that takes some")
    first = [dimension.dim_value for dimension in values[0].type.tensor_type.shape.dim][:1]
    if first and first[0] not in (0, batch):
        raise BenchmarkError(
            f"the batch of {path.name} is fixed at {first[0]}: give --batch {first[0]}, or export the model with "
            "a free first dimension"
        )
    return tuple(Input(value.name, _dtype(value, path), _shape(value, batch, size, path)) for value in values)


def _dtype(value: Any, path: Path) -> str:
    import onnx

    kind = value.type.tensor_type.elem_type
    dtype = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(kind)) if kind else None
    if dtype is None or dtype.kind not in "fiub":
        raise BenchmarkError(f"the input {value.name} of {path.name} is no tensor of numbers: give another model")
    return dtype.name


def _shape(value: Any, batch: int, size: int | None, path: Path) -> tuple[int, ...]:
    dimensions: Sequence[Any] = value.type.tensor_type.shape.dim
    free = [number for number, one in enumerate(dimensions) if not one.dim_value and number]
    if free and size is None:
        shape = [one.dim_value or one.dim_param or "?" for one in dimensions]
        raise BenchmarkError(
            f"the input {value.name} of {path.name} has the shape {shape}: give --size for its free dimensions, or fix "
            "them with `python -m onnxruntime.tools.make_dynamic_shape_fixed`"
        )
    return tuple(one.dim_value or (batch if number == 0 else size or 0) for number, one in enumerate(dimensions))

"""The teacher that has seen ImageNet: it still knows what it saw, it teaches, and it is never served."""

import collections
import os
import pickle
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_np
from PIL import Image
from skimage import data as photographs

from export.__main__ import main as export
from training import efficientnet
from training.__main__ import main
from training.config import lite_recipe
from training.errors import WeightsError
from training.network import build, initialise
from training.prepare import prepare
from training.torch_file import read_tensors

CATS = range(281, 286)
"""ImageNet's classes of house cats."""


@pytest.mark.slow
def test_a_cat_is_a_cat_in_grey_as_well() -> None:
    import keras

    model = build(lite_recipe())
    initialise(model, "imagenet")
    features = keras.Model(model.input, model.get_layer("features").output)
    head = read_tensors(efficientnet._packaged())
    cat = np.asarray(Image.fromarray(photographs.chelsea()).convert("L").resize((224, 224)))

    scores = head["_fc.weight"] @ np.asarray(features(cat[np.newaxis, ..., np.newaxis]))[0] + head["_fc.bias"]

    assert scores.argmax() in CATS


@pytest.mark.slow
def test_it_teaches_a_vgg19_and_is_not_served_itself(
    phantoms: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, teacher, whole = tmp_path / "data", tmp_path / "teacher", tmp_path / "whole"
    prepare(phantoms, data, size=48, validation=0.25)
    fit = ["fit", "--data", str(data), "--set", "batch_size=16"]
    lite = ["--network", "efficientnet-lite0", "--sizes", "48x2", "--set", "average_decay=0"]
    assert main([*fit, *lite, "--out", str(teacher)]) == 0
    assert main([*fit, "--init", "scratch", "--set", "width=0.25", "--sizes", "32x1", "--out", str(whole)]) == 0
    slim = ["slim", "--data", str(data), "--size", "48", "--epochs", "1", "--gmacs", "0.02", "--parameters", "4e5"]

    taught = [*slim, "--run", str(whole), "--teacher", str(teacher), "--teacher", str(whole)]
    assert main([*taught, "--out", str(tmp_path / "slim")]) == 0
    assert '"teachers": [' in (tmp_path / "slim" / "config.json").read_text()

    assert main(["compare", str(teacher), str(tmp_path / "slim")]) == 0
    assert "teacher, whole" in capsys.readouterr().out
    assert main([*slim, "--run", str(teacher), "--out", str(tmp_path / "none")]) == 1
    build = ["build", "--model", str(teacher), "--calibration", str(phantoms), "--out", str(tmp_path / "bundle")]
    assert export([*build, "--version", "1.0.0"]) == 1
    assert capsys.readouterr().err.count("can only teach") == 2


class FloatStorage:
    """What PyTorch keeps the numbers of a tensor in."""

    def __init__(self, values: np.ndarray) -> None:
        self.values = np.ascontiguousarray(values, "<f4")


class Tensor:
    """Pickled as PyTorch's own: by the function that builds it from a storage."""

    def __init__(self, values: np.ndarray) -> None:
        self.storage, self.shape = FloatStorage(values), values.shape
        self.strides = tuple(stride // 4 for stride in self.storage.values.strides)

    def __reduce__(self) -> tuple[object, ...]:
        rebuild = sys.modules["torch._utils"]._rebuild_tensor_v2  # type: ignore[attr-defined]
        return rebuild, (self.storage, 0, self.shape, self.strides, False, collections.OrderedDict())


def _rebuild_tensor_v2(*_: object) -> None:
    """Named in the file; PyTorch would call it."""


class Writer(pickle.Pickler):
    """Leaves the numbers out of the pickle, for they follow it."""

    def persistent_id(self, obj: object) -> tuple[object, ...] | None:
        if isinstance(obj, FloatStorage):
            return ("storage", FloatStorage, str(id(obj)), "cpu", obj.values.size, None)
        return None


@pytest.fixture(scope="module")
def torch_names() -> object:
    """The names under which PyTorch's classes stand in such a file."""
    torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")
    with pytest.MonkeyPatch.context() as patch:
        for module, member in ((torch, FloatStorage), (utils, _rebuild_tensor_v2)):
            patch.setattr(member, "__module__", module.__name__)
            patch.setattr(module, member.__name__, member, raising=False)
            patch.setitem(sys.modules, module.__name__, module)
        yield


def write(path: Path, state: object, storages: list[FloatStorage]) -> None:
    with path.open("wb") as file:
        for part in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}, state, [str(id(s)) for s in storages]):
            Writer(file, protocol=2).dump(part)
        for storage in storages:
            file.write(storage.values.size.to_bytes(8, "little") + storage.values.tobytes())


@pytest.mark.usefixtures("torch_names")
@given(
    arrays=st.lists(st_np.arrays(np.float32, st_np.array_shapes(min_side=0, max_side=4), elements=st.floats(width=32)))
)
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_tensors_are_read_as_they_were_written(arrays: list[np.ndarray], tmp_path: Path) -> None:
    tensors = {f"layer.{i}": Tensor(values) for i, values in enumerate(arrays)}
    write(tmp_path / "weights.pth", collections.OrderedDict(tensors), [tensor.storage for tensor in tensors.values()])

    found = read_tensors(tmp_path / "weights.pth")

    assert list(found) == list(tensors)
    for name, values in zip(found, arrays, strict=True):
        np.testing.assert_array_equal(found[name], values)


class Command:
    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, (self.command,)


def test_a_file_that_would_run_something_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "weights.pth", Command(f"touch {tmp_path}/ran"), [])

    with pytest.raises(WeightsError, match="no use for"):
        read_tensors(tmp_path / "weights.pth")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("content", [b"", b"\x80\x02", b"PK\x03\x04 a newer kind", b"hello"])
def test_a_file_of_another_kind_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "weights.pth").write_bytes(content)
    with pytest.raises(WeightsError, match="no weights that can be read"):
        read_tensors(tmp_path / "weights.pth")


@pytest.mark.usefixtures("torch_names")
def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    tensor = Tensor(np.zeros((3, 3), np.float32))
    write(tmp_path / "other.pth", collections.OrderedDict(conv=tensor), [tensor.storage])
    with pytest.raises(WeightsError, match="no EfficientNet-Lite0"):
        initialise(build(lite_recipe()), str(tmp_path / "other.pth"))
    with pytest.raises(WeightsError, match="weights"):
        initialise(build(lite_recipe()), str(tmp_path / "none.pth"))

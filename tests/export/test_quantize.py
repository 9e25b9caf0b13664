"""Quantization of a small real graph: the settings reach the file, and layers with a large error stay in float."""

import dataclasses
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from export.convert import run
from export.errors import QuantizationError
from export.quantize import PRESETS, compare, quantize, quantize_and_verify, quantized_convolutions
from export.run_images import Images

SIZE = 32


def small_graph(seed: int = 0) -> onnx.ModelProto:
    """uint8 pixels -> three convolutions -> pooled -> probabilities."""
    rng = np.random.default_rng(seed)
    kernels = [
        rng.normal(0, 0.05 / 50, (8, 1, 3, 3)),
        rng.normal(0, 0.2, (8, 8, 3, 3)),
        rng.normal(0, 0.2, (8, 8, 3, 3)),
    ]
    kernels.append(rng.normal(0, 3, (8, 2)))
    names = ["k1", "k2", "k3", "dense"]
    weights = [numpy_helper.from_array(k.astype(np.float32), n) for k, n in zip(kernels, names, strict=True)]
    nodes = [
        helper.make_node("Cast", ["pixels"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Conv", ["float", "k1"], ["c1"], name="first", pads=[1] * 4),
        helper.make_node("Relu", ["c1"], ["r1"]),
        helper.make_node("Conv", ["r1", "k2"], ["c2"], name="second", pads=[1] * 4),
        helper.make_node("Relu", ["c2"], ["r2"]),
        helper.make_node("Conv", ["r2", "k3"], ["c3"], name="third", pads=[1] * 4),
        helper.make_node("Relu", ["c3"], ["r3"]),
        helper.make_node("GlobalAveragePool", ["r3"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["features"]),
        helper.make_node("MatMul", ["features", "dense"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"]),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["N", 1, SIZE, SIZE])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", 2])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model


def some_pixels(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, SIZE, SIZE), dtype=np.uint8)


@pytest.mark.parametrize(("preset", "largest"), [("any-cpu", 64), ("vnni", 127)])
def test_presets_set_the_range_of_the_weights(preset: str, largest: int, tmp_path: Path) -> None:
    found = quantize(small_graph(), some_pixels(8), PRESETS[preset], tmp_path / "ranges.json")

    stored = [numpy_helper.to_array(t) for t in found.graph.initializer if t.data_type == TensorProto.INT8]
    kernels = [values.astype(int) for values in stored if values.ndim == 4]
    assert len(kernels) == quantized_convolutions(found) == 2
    assert max(np.abs(kernel).max() for kernel in kernels) == largest


def test_an_excluded_convolution_stays_float(tmp_path: Path) -> None:
    found = quantize(small_graph(), some_pixels(8), PRESETS["any-cpu"], tmp_path / "ranges.json", ["second"])

    assert quantized_convolutions(found) == 1


NAMES = ("a", "b")


def both(positive: list[float]) -> np.ndarray:
    """Probabilities of both classes."""
    return np.stack([1 - np.array(positive), positive], axis=1)


def test_agreement_counts_flips_and_largest_difference() -> None:
    expected, found = both([0.2, 0.6, 0.9, 0.4]), both([0.3, 0.4, 0.9, 0.45])
    images = Images(some_pixels(4), np.array([0, 1, 1, 0]), NAMES)
    agreement = compare(expected, found, images, 0.5, ["x"])

    assert agreement.flipped == 0.25
    assert agreement.max_difference == pytest.approx(0.2)
    assert agreement.auc_float == 1.0
    assert not agreement.good(images=1000)
    perfect = compare(expected, expected, images, 0.5, [])
    assert perfect.good(images=1000)
    one_in_forty = dataclasses.replace(perfect, flipped=1 / 40)
    assert one_in_forty.good(images=40), "one image may flip, however few there are"
    assert not one_in_forty.good(images=80)
    little = dataclasses.replace(perfect, auc_int8=perfect.auc_float - 0.99 / 40)
    assert little.good(images=40), "an AUC of few images may fall as much"
    assert not little.good(images=80)


def test_more_than_two_classes_agree_by_the_most_probable_one() -> None:
    expected = np.array([[0.5, 0.3, 0.2], [0.2, 0.5, 0.3], [0.1, 0.4, 0.5]])
    found = np.array([[0.5, 0.3, 0.2], [0.5, 0.2, 0.3], [0.1, 0.4, 0.5]])

    agreement = compare(expected, found, Images(some_pixels(3), np.arange(3), ("a", "b", "c")), None, [])

    assert agreement.flipped == pytest.approx(1 / 3)


def test_layers_are_left_out_until_int8_agrees_and_the_report_names_them(monkeypatch: pytest.MonkeyPatch) -> None:
    graph, pixels = small_graph(3), some_pixels(60, 1)
    positive = run(graph, pixels, ["probabilities"])[0][:, 1]
    middle = float(np.median(positive))
    images = Images(pixels, (positive > middle).astype(np.int64), NAMES)
    # All noise images have similar scores, so with a threshold at the median rounding errors change some decisions.
    _, agreement = quantize_and_verify(graph, pixels[:8], images, "probabilities", middle, PRESETS["any-cpu"])
    assert set(agreement.excluded) <= {"second", "third"}
    assert agreement.excluded
    assert agreement.flipped <= 1 / len(pixels)

    monkeypatch.setattr("export.quantize.MAX_EXCLUDED", 0)
    with pytest.raises(QuantizationError, match="train longer"):
        quantize_and_verify(graph, pixels[:8], images, "probabilities", middle, PRESETS["any-cpu"])

"""Static int8 quantization of the convolutions, and the check that it changes few decisions.

The dense head computes in float32, because it is less than a thousandth of the arithmetic. Only its weights are stored
in eight bits.
"""

import dataclasses
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)

from export.convert import run
from export.errors import QuantizationError
from export.run_images import Images
from export.weights import store_in_eight_bits
from handler.contract import decide
from handler.imaging.decode import Pixels
from training.metrics import summary
from training.progress import progress

MAX_AUC_DROP = 0.002
MAX_FLIPPED = 0.01
"""Share of validation images that may get another label. Both tolerances are at least 1 / N for N images, so that one
image may always get another label."""

_JUDGING = 128
"""Number of images for the search of the layer with the largest int8 error."""

MAX_EXCLUDED = 4
"""Maximum number of convolutions in float: each takes four times its int8 size and time."""


@dataclasses.dataclass(frozen=True, slots=True)
class Quantization:
    """How weights and activations are quantized to eight bits.

    Activations are unsigned, weights signed and per output channel.
    """

    seven_bit_weights: bool
    """On x86 without VNNI two products are added in 16 bits and may saturate. With seven-bit weights they cannot.
    https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html"""


PRESETS = {
    "any-cpu": Quantization(seven_bit_weights=True),
    "vnni": Quantization(seven_bit_weights=False),
}
"""By name of the CPUs on which they are correct. The default is `any-cpu`, because Lambda does not guarantee a CPU."""


@dataclasses.dataclass(frozen=True, slots=True)
class Agreement:
    """Agreement of an int8 graph with its float source on the validation split."""

    auc_float: float
    auc_int8: float
    flipped: float
    """Share of images with another label."""
    max_difference: float
    """Largest difference of a probability."""
    excluded: tuple[str, ...]
    """Convolutions in float besides the first."""

    def good(self, images: int) -> bool:
        """Return whether the graph may be served, for a comparison on `images` images."""
        drop = self.auc_float - self.auc_int8
        return drop <= max(MAX_AUC_DROP, 1 / images) and self.flipped <= max(MAX_FLIPPED, 1 / images)


class Reader(CalibrationDataReader):  # type: ignore[misc]
    """Gives images to ONNX Runtime's calibration, in batches of one.

    Args:
        name: name of the graph's input.
    """

    def __init__(self, name: str, images: Iterable[npt.NDArray[Any]]) -> None:
        self._feeds = ({name: image} for image in images)

    def get_next(self) -> dict[str, npt.NDArray[Any]] | None:
        return next(self._feeds, None)


def quantize(
    graph: onnx.ModelProto, calibration: Pixels, options: Quantization, ranges: Path, excluded: Sequence[str] = ()
) -> onnx.ModelProto:
    """Quantize all convolutions except the first and the excluded ones.

    The first convolution has one input channel, so each output is a sum of nine products. It is faster in float than in
    int8: this saves a twelfth of the inference time of the network in this repository.

    Args:
        graph: float graph of `export.convert`.
        calibration: uint8 `[N, S, S]`, real images.
        ranges: a file that keeps the ranges of the activations between calls for one graph.

    Returns:
        A graph in QDQ form.

    Raises:
        QuantizationError: fewer convolutions are quantized than requested.
    """
    first, *others = convolutions(graph)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "int8.onnx"
        quantize_static(
            onnx.shape_inference.infer_shapes(graph),
            path,
            Reader(graph.graph.input[0].name, calibration[:, np.newaxis, np.newaxis]),
            quant_format=QuantFormat.QDQ,
            # With Relu in the list, a convolution's output gets the range of the Relu's output, and the Relu is
            # removed: numbers below zero saturate to zero.
            op_types_to_quantize=["Conv", "Relu", "MaxPool"],
            per_channel=True,
            reduce_range=options.seven_bit_weights,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=[first, *excluded],
            calibrate_method=CalibrationMethod.MinMax,
            calibration_cache_path=ranges,
        )
        result = onnx.load(path)
    store_in_eight_bits(result.graph)
    count = quantized_convolutions(result)
    expected = len(others) - len(excluded)
    if count != expected:
        raise QuantizationError(
            f"{count} convolutions were quantized instead of {expected}: report this with the graph"
        )
    onnx.checker.check_model(result)
    return result


def quantized_convolutions(graph: onnx.ModelProto) -> int:
    """Count the convolutions with eight-bit weights."""
    stored = {tensor.name: tensor.data_type for tensor in graph.graph.initializer}
    produced = {node.output[0]: node for node in graph.graph.node}
    count = 0
    for node in graph.graph.node:
        if node.op_type == "Conv":
            source = produced.get(node.input[1])
            count += source is not None and stored.get(source.input[0]) == onnx.TensorProto.INT8
    return count


def convolutions(graph: onnx.ModelProto) -> list[str]:
    """Return the names of all convolutions, in the order of execution."""
    return [node.name for node in graph.graph.node if node.op_type == "Conv"]


def compare(
    expected: npt.NDArray[np.float32],
    found: npt.NDArray[np.float32],
    validation: Images,
    threshold: float | None,
    excluded: Sequence[str],
) -> Agreement:
    """Compare int8 probabilities `[N, K]` with float ones."""
    auc_float, auc_int8 = (
        summary(each.astype(np.float64), validation.labels, threshold, validation.names)["auc"]
        for each in (expected, found)
    )
    return Agreement(
        auc_float=auc_float,
        auc_int8=auc_int8,
        flipped=float((decide(expected, threshold) != decide(found, threshold)).mean()),
        max_difference=float(np.abs(expected - found).max()),
        excluded=tuple(excluded),
    )


def quantize_and_verify(
    graph: onnx.ModelProto,
    calibration: Pixels,
    validation: Images,
    output: str,
    threshold: float | None,
    options: Quantization,
) -> tuple[onnx.ModelProto, Agreement]:
    """Quantize, and while the result disagrees with float on validation, return the worst convolution to float.

    Raises:
        QuantizationError: `MAX_EXCLUDED` convolutions in float are not enough.
    """
    (expected,) = run(graph, validation.pixels, [output])
    excluded: list[str] = []
    with tempfile.TemporaryDirectory() as folder:

        def attempt(names: Sequence[str]) -> onnx.ModelProto:
            return quantize(graph, calibration, options, Path(folder) / "ranges.json", names)

        while True:
            candidate = attempt(excluded)
            (found,) = run(candidate, validation.pixels, [output])
            agreement = compare(expected, found, validation, threshold, excluded)
            if agreement.good(len(expected)):
                return candidate, agreement
            if len(excluded) == MAX_EXCLUDED:
                raise QuantizationError(
                    f"int8 changes {agreement.flipped:.1%} of the decisions and the AUC from {agreement.auc_float:.4f} "
                    f"to {agreement.auc_int8:.4f} even with {', '.join(excluded) or 'none'} in float: train longer, or "
                    "with more images, so that fewer probabilities are close to the threshold"
                )
            names = [name for name in convolutions(graph)[1:] if name not in excluded]
            some = slice(None, None, -(-len(expected) // _JUDGING))  # of all classes, which are sorted
            excluded.append(_worst(names, excluded, attempt, validation.pixels[some], expected[some], output))


def _worst(
    names: Sequence[str],
    excluded: Sequence[str],
    attempt: Callable[[Sequence[str]], onnx.ModelProto],
    pixels: Pixels,
    expected: npt.NDArray[np.float32],
    output: str,
) -> str:
    """Find the convolution whose return to float brings the probabilities closest to the float ones."""
    errors: dict[str, float] = {}
    for name in progress(names, "finding the layer with the largest int8 error", unit="layer"):
        (found,) = run(attempt([*excluded, name]), pixels, [output])
        errors[name] = float(np.abs(found - expected).mean())
    return min(errors, key=errors.__getitem__)

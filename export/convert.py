"""Convert a Keras network to ONNX, and check that both give the same probabilities."""

import keras
import numpy as np
import numpy.typing as npt
import onnx

from export.errors import ConversionError
from handler.imaging.decode import Pixels

OPSET = 17
MAX_DIFFERENCE = 1e-4
"""Largest allowed difference of a probability between Keras and the float graph, on real images."""

_REMEDY = "install the versions of requirements-dev.lock, and report the error if it remains"


def convert(model: keras.Model) -> onnx.ModelProto:
    """Convert a network of `export.fold` to ONNX with channels first and any batch size.

    Raises:
        ConversionError: the graph contains a transpose, which would copy all activations in every inference.
    """
    import tensorflow as tf
    import tf2onnx

    (pixels,) = model.inputs
    size = pixels.shape[1]
    # tf2onnx cannot find the signature of a Keras 3 model.
    signature = [tf.TensorSpec([None, size, size, 1], tf.uint8, name=pixels.name)]

    forward = tf.function(lambda x: model(x), input_signature=signature)
    graph, _ = tf2onnx.convert.from_function(
        forward, input_signature=signature, opset=OPSET, inputs_as_nchw=[pixels.name]
    )
    _drop_input_reshape(graph.graph)
    if transposes := [node.name for node in graph.graph.node if node.op_type == "Transpose"]:
        raise ConversionError(f"the graph contains transposes ({', '.join(transposes)}): {_REMEDY}")
    onnx.checker.check_model(graph)
    result: onnx.ModelProto = graph
    return result


def _drop_input_reshape(graph: onnx.GraphProto) -> None:
    """Remove the reshape from channels first to channels last: with one channel, it changes nothing."""
    reshape = next((node for node in graph.node[:4] if node.op_type == "Reshape"), None)
    if reshape is None:
        return
    for node in graph.node:
        node.input[:] = [reshape.input[0] if name == reshape.output[0] else name for name in node.input]
    graph.node.remove(reshape)
    shape = next(tensor for tensor in graph.initializer if tensor.name == reshape.input[1])
    if not any(shape.name in node.input for node in graph.node):
        graph.initializer.remove(shape)


def run(graph: onnx.ModelProto, pixels: Pixels, outputs: list[str], batch: int = 16) -> list[npt.NDArray[np.float32]]:
    """Run a graph on images `[N, S, S]` in batches, and return the named outputs."""
    import onnxruntime as ort

    session = ort.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    parts = [
        session.run(outputs, {name: pixels[start : start + batch, np.newaxis]})
        for start in range(0, len(pixels), batch)
    ]
    return [np.concatenate(column) for column in zip(*parts, strict=True)]


def assert_parity(expected: npt.NDArray[np.float64], found: npt.NDArray[np.float32]) -> float:
    """Return the largest difference between two arrays of probabilities.

    Raises:
        ConversionError: it exceeds `MAX_DIFFERENCE`.
    """
    difference = float(np.abs(expected - found).max())
    if difference > MAX_DIFFERENCE:
        raise ConversionError(
            f"the graph differs from Keras by {difference:.2e}, the limit is {MAX_DIFFERENCE:.0e}: {_REMEDY}"
        )
    return difference

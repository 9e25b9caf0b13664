"""A Keras network with the weights of a float ONNX graph, so that Keras, TensorFlow and LiteRT can run it."""

from typing import Any

import keras
import numpy as np
import onnx
from keras import layers
from onnx import helper, numpy_helper

from export.convert import assert_parity, run
from export.errors import ConversionError

IMAGES = 8
"""That prove that both give the same probabilities."""


def keras_network(graph: onnx.ModelProto, output: str, size: int) -> keras.Model:
    """Rebuild a chain of convolutions, ReLU, pooling and dense layers.

    Args:
        graph: float32, uint8 pixels `[N, 1, S, S]` to probabilities `[N, K]`, see `export.benchmark.float_graph`.
        output: the name of the probabilities.
        size: S.

    Returns:
        A network from pixels `[N, S, S, 1]` in 0..255 to probabilities `[N, K]`, which are equal to 1e-4.

    Raises:
        ConversionError: the graph has other layers, or the probabilities differ.
    """
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.graph.initializer}
    made: list[tuple[keras.Layer, list[np.ndarray[Any, Any]]]] = []
    for node in _chain(graph.graph, output):
        attributes = {found.name: helper.get_attribute_value(found) for found in node.attribute}
        values = [constants[name] for name in node.input if name in constants]
        match node.op_type, values:
            case (("Cast" | "Squeeze"), _):
                pass  # Keras takes float32, and its pooling leaves no empty dimensions
            case "Conv", [kernel, bias] if attributes.get("pads", [0] * 4) == [(kernel.shape[-1] - 1) // 2] * 4:
                same = layers.Conv2D(len(kernel), kernel.shape[2:], attributes.get("strides", 1), padding="same")
                made.append((same, [kernel.transpose(2, 3, 1, 0), bias]))
            case "MaxPool", []:
                made.append((layers.MaxPooling2D(attributes["kernel_shape"], attributes.get("strides", 1)), []))
            case "GlobalAveragePool", []:
                made.append((layers.GlobalAveragePooling2D(), []))
            case "MatMul", [kernel]:
                made.append((layers.Dense(kernel.shape[1]), [kernel, np.zeros(kernel.shape[1], np.float32)]))
            case "Mul", [factor] if made and isinstance(made[-1][0], layers.Dense):
                made[-1][1][0] = made[-1][1][0] * factor
            case "Add", [bias] if made and isinstance(made[-1][0], layers.Dense):
                made[-1][1][1] = made[-1][1][1] + bias
            case "Relu", []:
                made.append((layers.ReLU(), []))
            case "Softmax", []:
                made.append((layers.Softmax(), []))
            case _:
                raise ConversionError(f"{node.op_type} {node.name} has no counterpart in Keras here: give --network")
    network = keras.Sequential([keras.Input((size, size, 1)), *(layer for layer, _ in made)])
    try:
        for layer, weights in made:
            layer.set_weights(weights)
    except ValueError as exc:
        raise ConversionError(f"the weights do not fit a Keras layer ({exc}): give --network") from exc
    pixels = np.random.default_rng(0).integers(0, 256, (IMAGES, size, size), dtype=np.uint8)
    expected = network.predict(pixels[..., np.newaxis].astype(np.float32), verbose=0)
    assert_parity(expected, run(graph, pixels, [output])[0])
    return network


def _chain(graph: onnx.GraphProto, output: str) -> list[onnx.NodeProto]:
    """The nodes that lead to a tensor, first to last.

    Raises:
        ConversionError: one of them joins several branches.
    """
    makers = {name: node for node in graph.node for name in node.output}
    found: list[onnx.NodeProto] = []
    while maker := makers.get(output):
        found.insert(0, maker)
        computed = [name for name in maker.input if name in makers]
        if len(computed) > 1:
            raise ConversionError(f"{maker.op_type} {maker.name} joins branches: give --network")
        output = computed[0] if computed else ""
    return found

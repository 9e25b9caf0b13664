"""Convert the trained network to the plain VGG19 for serving, with all constants folded into the weights.

BatchNorm and the pixel scale are folded into the convolutions, and the temperature into the last dense layer. The
distance of the OOD detector is added as an output.
"""

import keras
import numpy as np
import numpy.typing as npt
from keras import layers, ops

from handler.contract import DISTANCE_NAME, INPUT_NAME, OUTPUT_NAME
from training import ood
from training.ood_statistics import OodStatistics

Weights = dict[str, list[npt.NDArray[np.float32]]]

HEAD = ("head_1", "head_2", "logits")


def convolutions(trained: keras.Model) -> list[str]:
    """Return the names of the convolutions, in order from the input."""
    return [layer.name for layer in trained.layers if isinstance(layer, layers.Conv2D)]


def folded_weights(trained: keras.Model, temperature: float) -> Weights:
    """Return kernel and bias of each convolution and dense layer, with all constants folded in.

    Args:
        trained: pixels 0..255 `[N, H, W, 1]` to probabilities `[N, K]`, as `training.network` builds it.
        temperature: divisor of the logits.
    """
    weights: Weights = {}
    normalized = {layer.name for layer in trained.layers if isinstance(layer, layers.BatchNormalization)}
    for name in convolutions(trained):
        values = trained.get_layer(name).get_weights()
        kernel = values[0].astype(np.float64)
        bias = values[1].astype(np.float64) if len(values) == 2 else np.zeros(kernel.shape[-1])
        if f"{name}_bn" in normalized:
            layer = trained.get_layer(f"{name}_bn")
            gamma, beta, mean, variance = (w.astype(np.float64) for w in layer.get_weights())
            factor = gamma / np.sqrt(variance + layer.epsilon)
            kernel, bias = kernel * factor, (bias - mean) * factor + beta
        weights[name] = [kernel.astype(np.float32), bias.astype(np.float32)]
    # Zero padding is black before and after scaling, so folding the scale into the first kernel is exact.
    first = convolutions(trained)[0]
    weights[first][0] = weights[first][0] * np.float32(trained.get_layer("scale").scale)
    for name in HEAD:
        weights[name] = trained.get_layer(name).get_weights()
    weights["logits"] = [value / np.float32(temperature) for value in weights["logits"]]
    return weights


def plain_vgg19(weights: Weights, size: int, statistics: OodStatistics) -> keras.Model:
    """Build the network to serve, in Keras: uint8 `[N, S, S, 1]` to the outputs that the contract names.

    Args:
        statistics: statistics of the OOD detector, for the distance output.
    """
    pixels = keras.Input((size, size, 1), dtype="uint8", name=INPUT_NAME)
    x = ops.cast(pixels, "float32")
    blocks: list[keras.KerasTensor] = []
    for name in (name for name in weights if name.startswith("block")):
        kernel, bias = weights[name]
        if name.endswith("_conv1") and name != "block1_conv1":
            x = layers.MaxPooling2D()(x)
            blocks.append(x)
        layer = layers.Conv2D(kernel.shape[-1], 3, padding="same", activation="relu", name=name)
        x = layer(x)
        layer.set_weights([kernel, bias])
    x = layers.MaxPooling2D()(x)
    x = layers.GlobalAveragePooling2D()(x)
    for name in HEAD:
        kernel, bias = weights[name]
        layer = layers.Dense(kernel.shape[-1], activation=None if name == "logits" else "relu", name=name)
        x = layer(x)
        layer.set_weights([kernel, bias])
    outputs = {
        OUTPUT_NAME: ops.softmax(x),
        DISTANCE_NAME: ood.distance(statistics, ood.pool(blocks[: ood.BLOCKS], size)),
    }
    return keras.Model(pixels, outputs)

"""From the trained network to the plain VGG19 that is served: everything constant moves into the weights.

BatchNorm and the pixel scale go into the convolutions, the temperature into the last dense layer. Two outputs are
added: the activation map, and the distance of the OOD detector.
"""

import keras
import numpy as np
import numpy.typing as npt
from keras import layers, ops

from handler.contract import DISTANCE_NAME, INPUT_NAME, MAP_NAME, OUTPUT_NAME
from training import ood
from training.run_folder import OodStatistics

Weights = dict[str, list[npt.NDArray[np.float32]]]

HEAD = ("head_1", "head_2", "logits")


def convolutions(trained: keras.Model) -> list[str]:
    """Names of the convolutions from the input on."""
    return [layer.name for layer in trained.layers if isinstance(layer, layers.Conv2D)]


def folded_weights(trained: keras.Model, temperature: float) -> Weights:
    """Kernel and bias of each convolution and dense layer with everything constant folded in.

    Args:
        trained: pixels 0..255 `[N, H, W, 1]` to probabilities `[N, K]`, as `training.network` builds it.
        temperature: what logits are divided by.
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
    # Zero padding stands for black before and after scaling, so the first kernel can take the scale exactly.
    first = convolutions(trained)[0]
    weights[first][0] = weights[first][0] * np.float32(trained.get_layer("scale").scale)
    for name in HEAD:
        weights[name] = trained.get_layer(name).get_weights()
    weights["logits"] = [value / np.float32(temperature) for value in weights["logits"]]
    return weights


def plain_vgg19(weights: Weights, size: int, statistics: OodStatistics) -> keras.Model:
    """The network to serve, in Keras: uint8 `[N, S, S, 1]` to the outputs that the contract names.

    Args:
        statistics: of the OOD detector, for the distance output.
    """
    pixels = keras.Input((size, size, 1), dtype="uint8", name=INPUT_NAME)
    x = ops.cast(pixels, "float32")
    blocks: list[keras.KerasTensor] = []
    evidence = x
    for name in (name for name in weights if name.startswith("block")):
        kernel, bias = weights[name]
        if name.endswith("_conv1") and name != "block1_conv1":
            x = layers.MaxPooling2D()(x)
            blocks.append(x)
        layer = layers.Conv2D(kernel.shape[-1], 3, padding="same", activation="relu", name=name)
        x = evidence = layer(x)
        layer.set_weights([kernel, bias])
    x = layers.MaxPooling2D()(x)
    features = layers.GlobalAveragePooling2D()(x)
    hidden = [features]
    for name in HEAD:
        kernel, bias = weights[name]
        layer = layers.Dense(kernel.shape[-1], activation=None if name == "logits" else "relu", name=name)
        hidden.append(layer(hidden[-1]))
        layer.set_weights([kernel, bias])
    outputs = {
        OUTPUT_NAME: ops.softmax(hidden[-1]),
        MAP_NAME: _activation_map(evidence, hidden, weights),
        DISTANCE_NAME: ood.distance(statistics, ood.pool(blocks[: ood.BLOCKS], size)),
    }
    return keras.Model(pixels, outputs)


def _activation_map(
    evidence: keras.KerasTensor, hidden: list[keras.KerasTensor], weights: Weights
) -> keras.KerasTensor:
    """Grad-CAM (Selvaraju et al. 2017, arXiv:1610.02391) for one logit, without a gradient: that of the second of two
    classes, or the greatest of more.

    Through dense layers with ReLU the gradient has a closed form: the weights, masked by which units are active.
    Through global and max pooling it only becomes the same for all positions, which the normalization takes out.

    Args:
        evidence: activations `[N, h, w, C]` of the last convolution.
        hidden: pooled features `[N, C]`, then the output of each dense layer.

    Returns:
        `[N, h, w]`, largest value 1, or all 0 where nothing speaks for the class.
    """
    kernel = weights["logits"][0]
    if kernel.shape[-1] == 2:
        gradient = kernel[:, 1]
    else:
        greatest = hidden[3] >= ops.max(hidden[3], axis=-1, keepdims=True)
        gradient = ops.matmul(ops.cast(greatest, "float32"), kernel.T.copy())
    gradient = ops.cast(hidden[2] > 0, "float32") * gradient
    gradient = ops.cast(hidden[1] > 0, "float32") * ops.matmul(gradient, weights["head_2"][0].T.copy())
    gradient = ops.matmul(gradient, weights["head_1"][0].T.copy())
    _, height, width, channels = evidence.shape
    # Channels first, as the ONNX graph has it anyway, so that no transpose is left there.
    by_channel = ops.reshape(ops.transpose(evidence, (0, 3, 1, 2)), (-1, channels, height * width))
    positive = ops.relu(ops.matmul(ops.expand_dims(gradient, 1), by_channel))
    normalized = positive / ops.maximum(ops.max(positive, axis=-1, keepdims=True), 1e-6)
    return ops.reshape(normalized, (-1, height, width))

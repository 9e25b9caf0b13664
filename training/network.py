"""VGG19 in Keras 3 for one grey channel, with the layer names of `keras.applications.VGG19`.

Simonyan, Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", 2014, arXiv:1409.1556.
"""

from pathlib import Path

import keras
import numpy as np
from keras import layers

from handler.contract import LABELS, PIXEL_SCALE
from training.config import Recipe, Trainable
from training.errors import WeightsError

BLOCKS = ((64, 2), (128, 2), (256, 4), (512, 4), (512, 4))
"""Channels and number of convolutions of each block; a pooling by two ends a block."""

CONVOLUTIONS = tuple(f"block{b}_conv{c}" for b, (_, count) in enumerate(BLOCKS, 1) for c in range(1, count + 1))

_CAFFE_MEANS = (103.939, 116.779, 123.68)
"""Blue, green, red means that Keras' ImageNet weights expect to be subtracted (https://keras.io/api/applications/vgg)."""


def widths(recipe: Recipe) -> tuple[int, ...]:
    """Channels of each of the sixteen convolutions."""
    own = [max(1, round(channels * recipe.width)) for channels, count in BLOCKS for _ in range(count)]
    return recipe.channels or tuple(own)


def build(recipe: Recipe) -> keras.Model:
    """The untrained network: pixels `[N, H, W, 1]` in 0..255 to probabilities `[N, 2]`; any size from 32 px up.

    The head pools globally where the seed flattened: the same layers then serve every picture size.
    """
    if recipe.mixed_precision:
        keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        pixels = keras.Input((None, None, 1), name="pixels")
        x = layers.Rescaling(PIXEL_SCALE, name="scale")(pixels)
        channels = iter(widths(recipe))
        for b, (_, count) in enumerate(BLOCKS, 1):
            for c in range(1, count + 1):
                x = _convolution(x, f"block{b}_conv{c}", next(channels), recipe.batch_norm)
            x = layers.MaxPooling2D(name=f"block{b}_pool")(x)
        x = layers.GlobalAveragePooling2D(name="features")(x)
        x = layers.Dense(512, activation="relu", kernel_initializer="he_normal", name="head_1")(x)
        x = layers.Dropout(recipe.dropout, seed=recipe.seed, name="head_dropout")(x)
        x = layers.Dense(128, activation="relu", kernel_initializer="he_normal", name="head_2")(x)
        x = layers.Dense(len(LABELS), dtype="float32", name="logits")(x)
        return keras.Model(pixels, layers.Softmax(dtype="float32", name="probabilities")(x), name="vgg19")
    finally:
        keras.config.set_dtype_policy("float32")


def _convolution(x: keras.KerasTensor, name: str, channels: int, batch_norm: bool) -> keras.KerasTensor:
    x = layers.Conv2D(channels, 3, padding="same", use_bias=not batch_norm, kernel_initializer="he_normal", name=name)(
        x
    )
    if batch_norm:
        x = layers.BatchNormalization(name=f"{name}_bn")(x)
    return layers.ReLU(name=f"{name}_relu")(x)


def set_trainable(model: keras.Model, trainable: Trainable) -> None:
    """Freeze what a phase does not train."""
    for layer in model.layers:
        if layer.name.startswith("block"):
            layer.trainable = trainable == "all" or (
                trainable == "upper" and layer.name.startswith(("block4", "block5"))
            )


def initialise(model: keras.Model, init: str) -> None:
    """Give an untrained network its first weights.

    Args:
        init: "scratch" leaves it as it is, "imagenet" and a weights file go to `load_imagenet`, and a `.keras` file is
            a network of the same shape that this project trained.

    Raises:
        WeightsError: the file is absent, or does not fit.
    """
    if init == "scratch":
        return
    if not init.endswith(".keras"):
        load_imagenet(model, init)
        return
    try:
        model.set_weights(keras.models.load_model(init, compile=False).get_weights())
    except Exception as exc:  # Keras raises whatever its reader met
        raise WeightsError(
            f"cannot start from {init}: give the model.keras of a run with the same widths and the same kind of "
            f"BatchNorm ({exc})"
        ) from exc


def load_imagenet(model: keras.Model, weights: str | Path = "imagenet") -> None:
    """Copy the convolutions of a three-channel VGG19 into the network.

    Those weights expect colour minus a mean per channel; ours sees one grey channel times `PIXEL_SCALE`. Because
    convolution is linear, summing the first layer's kernels over colour and moving the means into its bias gives the
    same numbers everywhere but in the outermost ring of pixels, where the zero padding now means black.

    Args:
        weights: "imagenet" (Keras downloads it) or a file of the same layout.

    Raises:
        WeightsError: the file is absent, or its layers do not fit.
    """
    if weights != "imagenet" and not Path(weights).is_file():
        raise WeightsError(f"{weights}: no such weights file; give one in the layout of keras.applications.VGG19")
    try:
        source = keras.applications.VGG19(include_top=False, weights=str(weights), input_shape=(64, 64, 3))
    except Exception as exc:  # Keras raises whatever its reader met: h5py, zip, or layer errors
        remedy = (
            "download it once where there is a network, or pass --init FILE or --init scratch"
            if weights == "imagenet"
            else "give the weights of keras.applications.VGG19(include_top=False)"
        )
        raise WeightsError(f"cannot load {weights} into VGG19: {remedy} ({exc})") from exc
    for name in CONVOLUTIONS:
        kernel, bias = source.get_layer(name).get_weights()
        target = model.get_layer(name)
        if name == CONVOLUTIONS[0]:
            bias = bias - np.einsum("hwco,c->o", kernel, np.asarray(_CAFFE_MEANS, kernel.dtype))
            kernel = kernel.sum(axis=2, keepdims=True) / PIXEL_SCALE
        if [w.shape for w in target.get_weights()] != [kernel.shape, bias.shape]:
            raise WeightsError(
                f"layer {name} of {weights} has shape {kernel.shape}, which does not fit a network with "
                "width 1 and no BatchNorm: use the seed recipe"
            )
        target.set_weights([kernel, bias])

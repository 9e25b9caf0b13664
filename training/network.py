"""VGG19 in Keras 3 for one grey channel, with the layer names of `keras.applications.VGG19`.

Simonyan, Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", 2014, arXiv:1409.1556.
"""

import keras
from keras import layers

from handler.contract import LABELS, PIXEL_SCALE
from training.config import Recipe, Trainable

BLOCKS = ((64, 2), (128, 2), (256, 4), (512, 4), (512, 4))
"""Channels and number of convolutions of each block; a pooling by two ends a block."""

CONVOLUTIONS = tuple(f"block{b}_conv{c}" for b, (_, count) in enumerate(BLOCKS, 1) for c in range(1, count + 1))


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

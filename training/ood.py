"""The out-of-distribution (OOD) detector: the Mahalanobis distance of an image's features from those of X-rays.

A softmax may be as confident on a cat as on a chest, so confidence cannot separate them. The features of the
convolutions can: on X-rays they vary in few directions, and the features of other images lie outside these. They are
pooled in each quarter of the image, because organs have fixed positions. The last blocks are not used: they ignore what
is irrelevant to pneumonia.

Training fits the statistics. Export adds the distance to the graph and selects the threshold.
"""

from collections.abc import Sequence

import keras
import numpy as np
import numpy.typing as npt
from keras import layers, ops

from handler.imaging.decode import Pixels
from training.augment import augment, resize
from training.errors import ConfigError
from training.ood_statistics import OodStatistics

BLOCKS = 3
"""The number of blocks, from the first, whose features are used."""

IMAGES = 600
COMPONENTS = 32
STRENGTH = 0.5


def fit_ood(model: keras.Model, pixels: Pixels, size: int, seed: int) -> OodStatistics:
    """Fit the statistics on training images and on a corrupted copy of each, so that a chest X-ray with another
    framing, another exposure or some blur is not an OOD image. The corruption has half the strength of training: with a
    stronger one the detector accepts images of clouds and retinas.

    Args:
        model: a network of `training.network`.
        pixels: uint8 `[N, S, S]`; at most `IMAGES` are sampled from them.
        size: image size in pixels at which the network is served.

    Raises:
        ConfigError: the features are not finite.
    """
    chosen = np.random.default_rng(seed).permutation(len(pixels))[:IMAGES]
    images = [pixels[i] for i in chosen] + [
        augment(pixels[i], np.random.default_rng((seed, int(i))), STRENGTH) for i in chosen
    ]
    features = pooled_features(model, np.stack([resize(image, size) for image in images]))
    # On some CPUs a ReLU makes NaN zero, so the loss of such a network is finite.
    if not np.isfinite(features).all():
        raise ConfigError("the features of the network are not finite: the recipe's steps are too large")
    return fit_gaussian(features)


def fit_gaussian(features: npt.NDArray[np.float64]) -> OodStatistics:
    """Fit a Gaussian to features `[N, D]`, scaled by their standard deviations. Its covariance has up to `COMPONENTS`
    principal components and one variance for all other directions (Tipping, Bishop 1999).

    scikit-learn's `PCA` gives the same result if `N > D`. If `N <= D`, as for the first blocks of a full VGG19, it
    distributes the remaining variance over fewer directions than remain.
    """
    mean, deviation = features.mean(axis=0), features.std(axis=0)
    scale = 1 / (deviation + 0.05 * deviation.mean() + 1e-6)
    _, singular, rows = np.linalg.svd((features - mean) * scale, full_matrices=False)
    variances = singular**2 / len(features)
    count = min(COMPONENTS, len(features) // 4, features.shape[1] - 1)
    noise = variances[count:].sum() / (features.shape[1] - count)
    gains = 1 / np.maximum(variances[:count], noise) - 1 / noise
    return OodStatistics(*(np.asarray(value, np.float32) for value in (mean, scale, rows[:count].T, gains, noise)))


def distance(statistics: OodStatistics, features: keras.KerasTensor) -> keras.KerasTensor:
    """The root mean square Mahalanobis distance per feature: `[N, D]` to `[N]`, about 1 for a typical X-ray.

    With `c = (features - mean) * scale` the squared Mahalanobis distance is
    `|c|^2 / noise + gains . (components^T c)^2`.
    """
    centred = (features - statistics.mean) * statistics.scale
    along = ops.matmul(centred, statistics.components)
    square = ops.sum(ops.square(centred), axis=-1) / statistics.noise
    square = square + ops.sum(ops.square(along) * statistics.gains, axis=-1)
    return ops.sqrt(ops.maximum(square / len(statistics.mean), 0.0))


def pooled_features(model: keras.Model, pixels: Pixels, batch: int = 32) -> npt.NDArray[np.float64]:
    """Features `[N, D]` of images, uint8 `[N, S, S]`, see `pool`."""
    blocks = [model.get_layer(f"block{block}_pool").output for block in range(1, BLOCKS + 1)]
    extractor = keras.Model(model.input, pool(blocks, pixels.shape[1]))
    parts = [
        np.asarray(extractor.predict_on_batch(pixels[start : start + batch, ..., np.newaxis]))
        for start in range(0, len(pixels), batch)
    ]
    return np.concatenate(parts).astype(np.float64)


def pool(blocks: Sequence[keras.KerasTensor], size: int) -> keras.KerasTensor:
    """Compute the mean of each channel in each quarter of the image: `[N, D]`, by block, then channel, then quarter.

    Args:
        blocks: outputs `[N, s, s, C]` of the first `BLOCKS` blocks, each half as large as the one before.
        size: image size in pixels.
    """
    return layers.Concatenate()([_quarter_means(x, size >> number) for number, x in enumerate(blocks, 1)])


def _quarter_means(x: keras.KerasTensor, side: int) -> keras.KerasTensor:
    """`[N, side, side, C]` to `[N, 4 C]`. Channels come first, as in ONNX, so that the graph needs no transpose."""
    means = ops.transpose(layers.AveragePooling2D(side // 2)(x), (0, 3, 1, 2))
    return ops.reshape(means, (-1, 4 * x.shape[-1]))

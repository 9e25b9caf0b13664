"""What the network's features look like on X-rays, so that anything else (out-of-distribution inputs) can be told from
them by its Mahalanobis distance.

A softmax is as sure of a cat as of a chest, so confidence cannot tell them apart. The features of the convolutions can:
on X-rays they vary in few directions, and anything else leaves those. They are pooled by quarters of the picture, for a
chest has a place for everything. The last blocks are left out: they have unlearned whatever does not bear on pneumonia.
"""

import keras
import numpy as np
import numpy.typing as npt
from keras import layers, ops

from handler.imaging.decode import Pixels
from training.augment import augment, resize

Array = npt.NDArray[np.float32]

BLOCKS = (1, 2, 3)
PICTURES = 600
COMPONENTS = 32
STRENGTH = 0.5


def fit_familiarity(model: keras.Model, pixels: Pixels, size: int, seed: int) -> dict[str, Array]:
    """Fit a Gaussian whose covariance is a few principal components and one variance for all other directions
    (Tipping, Bishop 1999), on pooled features scaled by their own spread.

    It is fitted on pictures and on a corrupted copy of each, so that another framing, exposure or some blur does not
    make a chest unfamiliar. Half as much as in training: more of it makes clouds and retinas familiar.

    Args:
        model: a network of `training.network`.
        pixels: uint8 `[N, S, S]` to sample from.
        size: what the network is served at, in pixels.

    Returns:
        `mean` and `scale` `[D]`, `components` `[D, K]` with orthonormal columns, `gains` `[K]` and `noise` `[]`: with
        `c = (features - mean) * scale`, the squared Mahalanobis distance is
        `|c|^2 / noise + gains . (components^T c)^2`.
    """
    chosen = np.random.default_rng(seed).permutation(len(pixels))[:PICTURES]
    pictures = [pixels[i] for i in chosen] + [
        augment(pixels[i], np.random.default_rng((seed, int(i))), STRENGTH) for i in chosen
    ]
    features = pooled_features(model, np.stack([resize(picture, size) for picture in pictures]))
    mean, deviation = features.mean(axis=0), features.std(axis=0)
    scale = 1 / (deviation + 0.05 * deviation.mean() + 1e-6)
    _, singular, rows = np.linalg.svd((features - mean) * scale, full_matrices=False)
    variances = singular**2 / len(features)
    count = min(COMPONENTS, len(features) // 4, features.shape[1] - 1)
    noise = variances[count:].sum() / (features.shape[1] - count)
    gains = 1 / np.maximum(variances[:count], noise) - 1 / noise
    found = {"mean": mean, "scale": scale, "components": rows[:count].T, "gains": gains, "noise": noise}
    return {name: np.asarray(value, np.float32) for name, value in found.items()}


def pooled_features(model: keras.Model, pixels: Pixels, batch: int = 32) -> npt.NDArray[np.float64]:
    """Mean activation of every channel in every quarter of the picture, at the end of each of `BLOCKS`: `[N, S, S]` to
    `[N, D]`, by block, then channel, then quarter."""
    size = pixels.shape[1]
    pooled = [_quarters(model.get_layer(f"block{block}_pool").output, size >> block) for block in BLOCKS]
    extractor = keras.Model(model.input, layers.Concatenate()(pooled))
    parts = [
        np.asarray(extractor.predict_on_batch(pixels[start : start + batch, ..., np.newaxis]))
        for start in range(0, len(pixels), batch)
    ]
    return np.concatenate(parts).astype(np.float64)


def _quarters(x: keras.KerasTensor, side: int) -> keras.KerasTensor:
    """`[N, side, side, C]` to `[N, 4 C]`."""
    means = ops.transpose(layers.AveragePooling2D(side // 2)(x), (0, 3, 1, 2))
    return ops.reshape(means, (-1, 4 * x.shape[-1]))

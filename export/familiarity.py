"""How far a picture is from the X-rays that the network knows.

A softmax is as sure of a cat as of a chest, so confidence cannot tell them apart. The features of the convolutions
can: on X-rays they vary in few directions, and anything else leaves those.
"""

import dataclasses
from typing import Self

import keras
import numpy as np
import numpy.typing as npt
from keras import ops

Array = npt.NDArray[np.float32]

COMPONENTS = 64
ACCEPTED = 0.995
"""Share of validation X-rays that must lie within the limit."""


@dataclasses.dataclass(frozen=True, slots=True)
class Familiarity:
    """A Gaussian whose covariance is a few principal components and one variance for all other directions.

    Mahalanobis distance under probabilistic principal components (Tipping, Bishop 1999), on features scaled by their
    own spread.
    """

    mean: Array
    """`[D]`"""
    scale: Array
    """`[D]`, one over the standard deviation."""
    components: Array
    """`[D, K]`, orthonormal columns."""
    gains: Array
    """`[K]`, what the squared length along each component counts for, beyond what it counts outside."""
    noise: float
    """Variance in each direction outside the components."""

    @classmethod
    def fit(cls, features: Array) -> Self:
        """Args:
        features: `[N, D]` of X-rays.
        """
        mean, deviation = features.mean(axis=0), features.std(axis=0)
        scale = 1 / (deviation + 0.05 * deviation.mean() + 1e-6)
        centred = ((features - mean) * scale).astype(np.float64)
        _, singular, rows = np.linalg.svd(centred, full_matrices=False)
        variances = singular**2 / len(features)
        count = min(COMPONENTS, len(features) // 4, features.shape[1] - 1)
        noise = float(variances[count:].sum() / (features.shape[1] - count))
        gains = 1 / np.maximum(variances[:count], noise) - 1 / noise
        as_float = np.float32
        return cls(
            mean.astype(as_float),
            scale.astype(as_float),
            rows[:count].T.astype(as_float),
            gains.astype(as_float),
            noise,
        )

    def distance(self, features: keras.KerasTensor) -> keras.KerasTensor:
        """`[N, D]` to `[N]`: root mean square distance per feature, about 1 for a typical X-ray."""
        centred = (features - self.mean) * self.scale
        along = ops.matmul(centred, self.components)
        square = ops.sum(ops.square(centred), axis=-1) / self.noise + ops.sum(ops.square(along) * self.gains, axis=-1)
        return ops.sqrt(ops.maximum(square / len(self.mean), 0.0))

"""How far a picture is from the X-rays that the network knows: the arithmetic in the graph.

The statistics are fitted in training; here they only become an output.
"""

import dataclasses
from pathlib import Path
from typing import Self

import keras
import numpy as np
import numpy.typing as npt
from keras import ops

from export.errors import RunError

Array = npt.NDArray[np.float32]

ACCEPTED = 0.995
"""Share of validation X-rays that must lie within the limit."""

MARGIN = 1.2
"""On that limit: other hospitals' X-rays are a little farther away than the validation split's."""


@dataclasses.dataclass(frozen=True, slots=True)
class Familiarity:
    """A Gaussian over pooled features, as `training.familiarity` describes it."""

    mean: Array
    """`[D]`"""
    scale: Array
    """`[D]`"""
    components: Array
    """`[D, K]`"""
    gains: Array
    """`[K]`"""
    noise: Array
    """`[]`"""

    @classmethod
    def load(cls, path: Path) -> Self:
        """Raises `RunError` when the file is absent or of another form."""
        try:
            with np.load(path) as stored:
                return cls(**{field.name: stored[field.name] for field in dataclasses.fields(cls)})
        except (OSError, KeyError, ValueError) as exc:
            raise RunError(f"{path} cannot be read: run the fit command again, it finishes the run ({exc})") from exc

    def distance(self, features: keras.KerasTensor) -> keras.KerasTensor:
        """`[N, D]` to `[N]`: root mean square Mahalanobis distance per feature, about 1 for a typical X-ray."""
        centred = (features - self.mean) * self.scale
        along = ops.matmul(centred, self.components)
        square = ops.sum(ops.square(centred), axis=-1) / self.noise + ops.sum(ops.square(along) * self.gains, axis=-1)
        return ops.sqrt(ops.maximum(square / len(self.mean), 0.0))


def limit(distances: Array) -> float:
    """The distance from which on a picture is taken for something else, from those of validation X-rays `[N]`."""
    return float(np.quantile(distances, ACCEPTED)) * MARGIN

"""The numbers of the OOD detector. Importing this module does not import Keras."""

import dataclasses

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class OodStatistics:
    """A Gaussian over `D` pooled features of X-rays, see `training.ood`. All arrays are float32."""

    mean: Array
    """`[D]`"""
    scale: Array
    """`[D]`, factors of the centred features."""
    components: Array
    """`[D, K]`, orthonormal columns."""
    gains: Array
    """`[K]`, at most 0: the precision along each component, minus `1 / noise`."""
    noise: Array
    """`[]`, the variance in all other directions."""

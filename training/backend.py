"""Keras and what computes for it: TensorFlow, JAX or PyTorch, as the environment variable `KERAS_BACKEND` says."""

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from handler.imaging.decode import Pixels

Floats = npt.NDArray[np.float32]


def load_keras() -> None:
    """Import Keras and start its backend without the backend's remarks about drivers and instruction sets."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    if "keras" in sys.modules:
        return
    with _quiet():
        import keras

        keras.ops.zeros(())  # starts the devices, which are remarked upon as well


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Hold back what is written to the descriptor of stderr, by C++ too. Show it if an exception is raised."""
    sys.stderr.flush()
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            held.seek(0)
            os.write(stderr, held.read())
            raise
        finally:
            sys.stderr.flush()
            os.dup2(stderr, 2)
            os.close(stderr)


def use_all_devices() -> int:
    """Let JAX train on all its devices at once, each with a part of every batch. Must be called before a network is
    built. The other backends use one device.

    Returns:
        The number of devices. The size of a batch must be a multiple of it, see `padded`.
    """
    import keras

    if keras.backend.backend() != "jax":
        return 1
    devices = keras.distribution.list_devices()
    if len(devices) > 1 and keras.distribution.distribution() is None:
        keras.distribution.set_distribution(keras.distribution.DataParallel(devices=devices))
    return len(devices)


def padded(pixels: Pixels, targets: Floats, weights: Floats, multiple: int) -> tuple[Pixels, Floats, Floats]:
    """A batch whose size is a multiple. Images are repeated with weight 0; the other weights grow, so that the mean of
    the loss stays the same.

    Args:
        pixels: `[B, S, S, 1]`.
        targets: `[B, K]`.
        weights: in the loss, `[B]`.
    """
    count = len(weights)
    rows = np.arange(count + -count % multiple)
    chosen = rows % count
    kept = np.where(rows < count, weights[chosen] * np.float32(len(rows) / count), np.float32(0))
    return pixels[chosen], targets[chosen], kept

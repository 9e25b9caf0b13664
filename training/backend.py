"""Keras and its backend: TensorFlow, JAX or PyTorch, selected by the environment variable `KERAS_BACKEND`."""

import contextlib
import importlib.util
import os
import sys
import tempfile
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from handler.imaging.decode import Pixels

Floats = npt.NDArray[np.float32]

_WORTH_COMPILING = 20_000


def load_keras() -> None:
    """Import Keras and start its backend, without the backend's messages about drivers and instruction sets."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    if "keras" in sys.modules:
        return
    with _quiet():
        import keras

        if importlib.util.find_spec("tensorflow"):  # Keras imports it with any backend, partly during training
            importlib.import_module("tensorflow")
        keras.ops.zeros(())  # starts the devices, which also writes messages


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Buffer the output to the file descriptor of stderr, also that of C++. Show it only if an exception is raised."""
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


def jit_compile(images: int) -> bool | str:
    """Return the argument `jit_compile` of `keras.Model.compile` for a training with this number of images, counted in
    each epoch. XLA first compiles for ten seconds for each size of a batch, and then saves a quarter of TensorFlow's
    time. So a short training is done without it."""
    import keras

    return images >= _WORTH_COMPILING if keras.backend.backend() == "tensorflow" else "auto"


def padded(pixels: Pixels, targets: Floats, weights: Floats, multiple: int) -> tuple[Pixels, Floats, Floats]:
    """Pad a batch so that its size is a multiple of `multiple`. Images are repeated with weight 0. The other weights
    are scaled up, so that the mean loss stays the same.

    Args:
        pixels: `[B, S, S, 1]`.
        targets: `[B, K]`.
        weights: `[B]`, weights in the loss.
    """
    count = len(weights)
    if count % multiple == 0:
        return pixels, targets, weights
    rows = np.arange(count + -count % multiple)
    chosen = rows % count
    kept = np.where(rows < count, weights[chosen] * np.float32(len(rows) / count), np.float32(0))
    return pixels[chosen], targets[chosen], kept

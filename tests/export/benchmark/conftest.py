"""A network so small that all runners are quick. No test checks how fast anything is."""

from pathlib import Path

import numpy as np
import pytest

from handler.imaging.decode import decode
from tests.export.benchmark.command import SIZE
from tests.phantoms import write
from tests.tiny_bundle import write_tiny_bundle

CHANNELS = (8, 16, 16)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained network, labelled images that it was not trained on, a bundle, and what the benchmark keeps."""
    import keras
    from keras import layers

    folder = tmp_path_factory.mktemp("benchmark")
    write_tiny_bundle(folder / "bundle")
    write(folder / "train", patients=12, opacity=0.2)
    write(folder / "data", patients=8, first=100, opacity=0.2)
    files = sorted((folder / "train").glob("*/*.jpeg"))
    pixels = np.stack([decode(path.read_bytes(), SIZE) for path in files])[..., np.newaxis]
    labels = np.array([path.parent.name == "PNEUMONIA" for path in files], np.int64)
    keras.utils.set_random_seed(0)
    x = images = keras.Input((None, None, 1))
    x = layers.Rescaling(1 / 255)(x)
    for channels in CHANNELS:
        x = layers.Conv2D(channels, 3, padding="same", use_bias=False)(x)
        x = layers.ReLU()(layers.BatchNormalization(momentum=0.8)(x))
        x = layers.MaxPooling2D()(x)
    x = layers.Dense(2, activation="softmax")(layers.GlobalMaxPooling2D()(x))
    network = keras.Model(images, x)
    network.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy")
    network.fit(pixels, labels, batch_size=8, epochs=12, verbose=0)
    network.save(folder / "network.keras")
    return folder

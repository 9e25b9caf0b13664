"""Training on each backend of Keras. A process has one backend, so each test trains in its own."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from training.backend import padded
from training.network import build
from training.prepare import load, prepare
from training.recipe import Phase, Recipe
from training.run_folder import RunFolder

FIT = """
import json, logging, sys
from pathlib import Path
from training.backend import load_keras
logging.basicConfig(level=logging.INFO)
load_keras()
from training.fit import fit
from training.prepare import load
from training.recipe import Recipe
recipe = Recipe.from_dict(json.loads(sys.argv[4]))
fit(load(Path(sys.argv[1])), Path(sys.argv[2]), recipe, sys.argv[3], workers=1)
"""


def train(data: Path, out: Path, init: str, recipe: Recipe, backend: str) -> str:
    """What a run says."""
    done = subprocess.run(
        [sys.executable, "-c", FIT, str(data), str(out), init, json.dumps(recipe.to_dict())],
        env=os.environ | {"KERAS_BACKEND": backend, "XLA_FLAGS": "--xla_force_host_platform_device_count=4"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.fixture(scope="module")
def prepared(phantoms: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("prepared")
    prepare(phantoms, folder, size=32, validation=0.25)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_other_backends_learn_the_same(backend: str, prepared: Path, tmp_path: Path) -> None:
    """JAX on four devices: neither the batches of 18 nor the last one are multiples of four."""
    import keras

    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"needs {backend}: pip install {backend}")
    phase = Phase(name="only", trainable="all", sizes=(32, 32), learning_rate=1e-4)
    # No BatchNorm, whose statistics would include the images that fill a batch, and no dropout, which is random.
    recipe = Recipe(phases=(phase,), batch_norm=False, width=0.05, batch_size=18, dropout=0.0, average_decay=0.9)
    start = tmp_path / "start.keras"
    keras.utils.set_random_seed(0)
    build(recipe).save(start)

    train(prepared, tmp_path / "tensorflow", str(start), recipe, "tensorflow")
    said = train(prepared, tmp_path / backend, str(start), recipe, backend)

    assert ("training on 4 devices" in said) == (backend == "jax")
    expected, found = (RunFolder(tmp_path / name) for name in ("tensorflow", backend))
    for name in ("loss", "validation_log_loss"):
        losses = [[row[name] for row in run.read_state().history] for run in (expected, found)]
        np.testing.assert_allclose(losses[1], losses[0], rtol=1e-3)
    assert found.has_operating_point
    one, other = (keras.models.load_model(run.model, compile=False) for run in (expected, found))
    pixels = load(prepared).pixels["validation"][:8, ..., np.newaxis]
    np.testing.assert_allclose(one.predict_on_batch(pixels), other.predict_on_batch(pixels), atol=0.02)


def test_padding_a_batch_keeps_its_mean_loss() -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 255, (6, 4, 4, 1), dtype=np.uint8)
    targets, weights, losses = (rng.random(shape).astype(np.float32) for shape in ((6, 3), (6,), (6,)))
    more, wider, heavier = padded(pixels, targets, weights, 4)

    assert (more.shape, wider.shape) == ((8, 4, 4, 1), (8, 3))
    np.testing.assert_array_equal(more[:6], pixels)
    assert (heavier * losses[np.arange(8) % 6]).mean() == pytest.approx((weights * losses).mean(), rel=1e-6)
    for part, same in zip(padded(pixels, targets, weights, 3), (pixels, targets, weights), strict=True):
        assert part is same

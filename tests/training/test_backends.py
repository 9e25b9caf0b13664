"""Training on each backend of Keras. A process has one backend, so each test trains in its own."""

import dataclasses
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from training.backend import padded
from training.prepare import load, prepare
from training.recipe import Phase, Recipe
from training.run_folder import RunFolder

SMALL = ["--init", "scratch", "--set", "width=0.05", "--set", "batch_size=18", "--workers", "1"]


@pytest.fixture(scope="module")
def prepared(phantoms: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("prepared")
    prepare(phantoms, folder, size=32, validation=0.25)
    return folder


def run(command: list[str], backend: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, *command],
        env=os.environ | {"KERAS_BACKEND": backend} | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_a_run_on_another_backend_is_a_run_like_any_other(backend: str, prepared: Path, tmp_path: Path) -> None:
    import keras

    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"needs {backend}: pip install {backend}")
    folder = tmp_path / "run"
    fit = ["-m", "training", "fit", "--data", str(prepared), *SMALL, "--out", str(folder)]
    run([*fit, "--sizes", "32x2"], backend)

    found = RunFolder(folder)
    assert [np.isfinite(row["loss"]) for row in found.read_state().history] == [True, True]
    assert found.has_operating_point
    model = keras.models.load_model(folder / "model.keras", compile=False)  # on the backend of this process
    assert model.output_shape == (None, 2)


@pytest.mark.slow
def test_jax_trains_on_several_devices(prepared: Path, tmp_path: Path) -> None:
    """The mean of the losses of the parts is the loss of the whole, last batch included: 18 and 108 % 18 are no
    multiples of 4."""
    pytest.importorskip("jax", reason="pip install jax")
    phase = Phase(name="only", trainable="all", sizes=(32, 32), learning_rate=1e-3)
    # Without BatchNorm, whose statistics include the images that pad a batch.
    recipe = Recipe(phases=(phase,), batch_norm=False, width=0.05, batch_size=18, dropout=0.0)
    code = (
        "import sys, logging\n"
        "from pathlib import Path\n"
        "from training.backend import load_keras\n"
        "logging.basicConfig(level=logging.INFO)\n"
        "load_keras()\n"
        "from training.fit import fit\n"
        "from training.prepare import load\n"
        "from training.recipe import Recipe\n"
        "import json\n"
        "recipe = Recipe.from_dict(json.loads(sys.argv[3]))\n"
        "fit(load(Path(sys.argv[1])), Path(sys.argv[2]), recipe, 'scratch', workers=1)\n"
    )
    losses = []
    for devices in (1, 4):
        out = tmp_path / str(devices)
        said = run(
            ["-c", code, str(prepared), str(out), json.dumps(dataclasses.asdict(recipe))],
            "jax",
            XLA_FLAGS=f"--xla_force_host_platform_device_count={devices}",
        )
        assert ("training on 4 devices" in said) == (devices == 4)
        losses.append([row["loss"] for row in RunFolder(out).read_state().history])
    assert len(load(prepared).labels["train"]) % 18 % 4 or 18 % 4
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-3)


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

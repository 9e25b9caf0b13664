"""A run gives the same network with any number of workers, and after any interruption."""

import dataclasses
import itertools
import json
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.training.runs import SMALL, history, weights_of
from training.errors import RunError
from training.prepare import load
from training.recipe import Phase, Recipe

pytestmark = pytest.mark.slow


def test_a_killed_run_resumes_to_the_same_network(prepared: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "training", "fit", "--data", str(prepared), *SMALL, "--sizes", "32x3,48x1"]
    environment = os.environ | {"PYTHONUNBUFFERED": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    subprocess.run([*command, "--out", str(tmp_path / "whole")], check=True, env=environment, capture_output=True)

    out = tmp_path / "killed"
    process = subprocess.Popen([*command, "--out", str(out)], env=environment, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    for line in process.stderr:
        if "epoch 3 of 4" in line:  # two epochs are saved, the third has begun
            process.send_signal(signal.SIGKILL)
    process.wait()
    process.stderr.close()
    assert json.loads((out / "state.json").read_text())["epoch"] == 2
    subprocess.run([*command, "--out", str(out)], check=True, env=environment, capture_output=True)

    assert history(out) == history(tmp_path / "whole")
    for resumed, whole in zip(weights_of(out), weights_of(tmp_path / "whole"), strict=True):
        np.testing.assert_allclose(resumed, whole, rtol=1e-4, atol=1e-5)


def test_the_next_phase_begins_again_where_the_last_one_ended(
    prepared: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Interrupted in the first epoch of a phase, after its weights were saved and before its checkpoint."""
    from training.fit import fit

    phases = tuple(Phase(name=name, trainable="all", sizes=(32, 32), learning_rate=1e-3) for name in ("one", "two"))
    recipe = Recipe(phases=phases, batch_norm=True, width=0.05, batch_size=36)
    fit(load(prepared), tmp_path / "whole", recipe, "scratch")

    said = itertools.count(1)

    def interrupt(record: logging.LogRecord) -> bool:
        if "validation: log loss" in record.msg and next(said) == 3:
            raise KeyboardInterrupt
        return True

    logger = logging.getLogger("training.fit")
    caplog.set_level(logging.INFO)
    logger.addFilter(interrupt)
    with pytest.raises(KeyboardInterrupt):
        fit(load(prepared), tmp_path / "killed", recipe, "scratch")
    logger.removeFilter(interrupt)
    fit(load(prepared), tmp_path / "killed", recipe, "scratch")

    assert history(tmp_path / "killed") == history(tmp_path / "whole")


def test_the_network_depends_neither_on_workers_nor_on_memory(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from training import fit

    phase = Phase(name="only", trainable="all", sizes=(32, 32), learning_rate=1e-3)
    recipe = Recipe(phases=(phase,), batch_norm=True, width=0.05, batch_size=12)
    fit.fit(load(prepared), tmp_path / "1", recipe, "scratch", workers=1)
    monkeypatch.setattr(fit, "_IN_MEMORY", 0)  # as if the validation set were large
    fit.fit(load(prepared), tmp_path / "2", recipe, "scratch", workers=2)

    for one, two in zip(weights_of(tmp_path / "1"), weights_of(tmp_path / "2"), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-5)
    for one, two in zip(history(tmp_path / "1"), history(tmp_path / "2"), strict=True):
        assert one.pop("phase") == two.pop("phase")
        assert one == pytest.approx(two, rel=1e-3)


def test_a_run_folder_of_another_configuration_or_of_other_images_is_refused(prepared: Path, tmp_path: Path) -> None:
    from training.fit import fit

    data = load(prepared)
    phase = Phase(name="only", trainable="all", sizes=(48,), learning_rate=1e-3)
    recipe = Recipe(phases=(phase,), batch_norm=True, width=0.05, batch_size=36)
    fit(data, tmp_path, recipe, "scratch")
    before = (tmp_path / "model.keras").read_bytes()

    with pytest.raises(RunError, match="another configuration: give another --out"):
        fit(data, tmp_path, dataclasses.replace(recipe, dropout=0.1), "scratch")
    # The same number of images, but former validation images are in training.
    swapped = {"train": data.files["train"], "validation": data.files["train"][: len(data.files["validation"])]}
    with pytest.raises(RunError, match="other images: give another --out"):
        fit(dataclasses.replace(data, files=swapped), tmp_path, recipe, "scratch")
    assert (tmp_path / "model.keras").read_bytes() == before

"""The files of a run: they can be written and read again, and an unreadable file gives a clear error."""

import dataclasses
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from training.errors import RunError
from training.ood_statistics import OodStatistics
from training.operating_point import OperatingPoint
from training.recipe import scratch_recipe
from training.run_folder import RunConfig, RunFolder, RunMetrics, RunSplit, RunState

CONFIG = RunConfig(
    recipe=scratch_recipe(width=0.5),
    init="scratch",
    teachers=("a", "b"),
    data="chests",
    images={"train": 2},
    labels=("NORMAL", "PNEUMONIA"),
)
SPLIT = RunSplit(train=("train/NORMAL/a.png", "train/PNEUMONIA/b.png"), validation=("train/NORMAL/c.png",))
POINT = OperatingPoint(temperature=0.5, threshold=0.6, set_thresholds=(0.2, 0.4), set_coverage=0.98, input_size=64)


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path / "run")


def test_what_is_written_is_read_back(run: RunFolder) -> None:
    state = RunState(phase=1, epoch=2, best=0.9, history=[{"phase": "one", "corrupted_auc": 0.9}])
    metrics = RunMetrics(
        epochs=3,
        uncalibrated={"auc": 0.7},
        validation={"auc": 0.8},
        corrupted={"auc": 0.6},
        intervals={"auc": (0.7, 0.9)},
        counts={"NORMAL": 3, "PNEUMONIA": 4},
        patients=5,
    )
    rng = np.random.default_rng(0)
    arrays = [rng.random(shape).astype(np.float32) for shape in ((4,), (4,), (4, 2), (2,), ())]
    scores = {"block1_conv1": rng.random(8)}

    run.claim(CONFIG, SPLIT)
    run.write_state(state)
    run.write_metrics(metrics)
    run.write_ood(OodStatistics(*arrays))
    run.write_importance(scores, "digest")
    assert not run.has_operating_point
    run.write_operating_point(POINT)

    assert run.read_config() == CONFIG
    assert run.read_split() == SPLIT
    assert run.read_state() == state
    assert run.read_metrics() == metrics
    assert run.read_operating_point() == POINT
    assert run.has_operating_point
    found = run.read_ood()
    for name, expected in zip(("mean", "scale", "components", "gains", "noise"), arrays, strict=True):
        np.testing.assert_array_equal(getattr(found, name), expected)
    importance = run.read_importance("digest")
    assert importance is not None
    np.testing.assert_array_equal(importance["block1_conv1"], scores["block1_conv1"])
    header, row = run.history.read_text().splitlines()
    assert (header, row) == ("phase,corrupted_auc", "one,0.9")
    assert run.read_importance("that of another network") is None


def test_a_run_that_has_started_keeps_its_configuration_and_its_images(run: RunFolder) -> None:
    other = dataclasses.replace(CONFIG, init="hed")
    run.claim(other, SPLIT)
    run.claim(CONFIG, SPLIT)  # before the first epoch
    run.write_state(RunState())

    run.claim(CONFIG, SPLIT)
    with pytest.raises(RunError, match="another configuration"):
        run.claim(other, SPLIT)
    with pytest.raises(RunError, match="other images"):
        run.claim(CONFIG, RunSplit(train=SPLIT.train, validation=SPLIT.train))
    assert run.read_config() == CONFIG


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"recipe": {"phases": []}}', '{"mixing": 0.3}', None])
def test_a_file_that_is_absent_or_of_another_form_is_a_clear_error(run: RunFolder, content: str | None) -> None:
    run.path.mkdir()
    if content is not None:
        for name in ("config.json", "split.json", "metrics.json", "operating_point.json", "ood.npz"):
            (run.path / name).write_text(content)

    for read in (run.read_config, run.read_split, run.read_metrics, run.read_operating_point, run.read_ood):
        with pytest.raises(RunError, match=r"training fit|train again"):
            read()
    with pytest.raises(RunError, match="finishes the run"):
        run.finished_model()


def test_reading_a_run_imports_no_training_stack() -> None:
    heavy = {"keras", "tensorflow", "sklearn", "scipy", "matplotlib"}
    modules = "training.run_folder, training.scorer, training.conclusion, training.batches"
    code = f"import sys, {modules}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert not heavy.intersection(done.stdout.split())


def test_what_a_finished_run_does_not_need_is_deleted(run: RunFolder) -> None:
    run.path.mkdir()
    kept = {"model.keras", "importance.npz", "curves.png", "history.csv"}
    for name in {"checkpoint-003.keras", "checkpoint-003.weights.h5", "one.weights.h5", "pruned.keras"} | kept:
        (run.path / name).touch()
    run.delete_intermediate()
    assert {path.name for path in run.path.iterdir()} == kept

"""Training end to end on synthetic chests: it learns, and it refuses data that does not fit."""

import csv
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.training.runs import SMALL, history
from training.__main__ import main
from training.conclusion import conclude, uselessness
from training.errors import ConfigError, WeightsError
from training.phantom import draw
from training.prepare import load
from training.recipe import Phase, Recipe, baseline_recipe, scratch_recipe
from training.run_folder import RunFolder

pytestmark = pytest.mark.slow


def test_a_network_learns_to_tell_drawn_chests_apart(
    phantoms: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    assert main(["fit", "--data", str(phantoms), "--out", str(run), *SMALL, "--sizes", "48x18"]) == 0

    assert json.loads((run / "metrics.json").read_text())["validation"]["auc"] > 0.9
    for name in ("config.json", "split.json", "state.json", "curves.png", "operating_point.json", "model.keras"):
        assert (run / name).stat().st_size > 0
    assert not [*run.glob("checkpoint-*"), *run.glob("*.weights.h5")], "those are only for resuming"
    said = capsys.readouterr().out
    assert f" -m training evaluate --model {run} --data {phantoms}" in said
    assert f" -m export build --model {run} --data {phantoms}" in said
    assert "these results are unreliable" in said
    assert "CHANCE" not in said
    assert RunFolder(run).read_metrics().useless == ""
    logged = (run / "train.log").read_text()
    assert said.endswith(logged[-500:])
    assert "epoch 18 of 18 at 48 px" in logged
    with (run / "history.csv").open() as file:
        assert [float(row["loss"]) for row in csv.DictReader(file)] == [row["loss"] for row in history(run)]

    out = tmp_path / "evaluation"
    assert main(["evaluate", "--model", str(run), "--data", str(phantoms / "test"), "--out", str(out), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["n"] == 24
    assert {"accuracy", "sensitivity", "specificity", "auc", "log_loss", "ece", "threshold"} <= result.keys()
    assert sum(map(sum, result["confusion"])) == 24
    for plot in ("roc", "precision_recall", "reliability", "confusion"):
        assert (out / f"{plot}.png").read_bytes().startswith(b"\x89PNG")
    assert "classified as PNEUMONIA" in (out / "report.txt").read_text()

    evaluate = ["evaluate", "--model", str(run), "--out", str(out), "--json", "--validation", str(run)]
    assert main([*evaluate, "--data", str(phantoms)]) == 0
    held_out = json.loads(capsys.readouterr().out)
    assert held_out["n"] == len(json.loads((run / "split.json").read_text())["validation"])
    assert held_out["auc"] == pytest.approx(
        json.loads((run / "metrics.json").read_text())["validation"]["auc"], abs=0.05
    )
    assert main([*evaluate, "--data", str(phantoms / "test")]) == 1
    assert "trained on" in capsys.readouterr().err

    assert main(["robustness", "--model", str(run), "--data", str(run / "data"), "--out", str(out)]) == 0
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| ")][2:]
    robustness = json.loads((out / "robustness.json").read_text())["changes"]
    assert [row.split(" | ")[0][2:] for row in rows] == list(robustness)
    assert robustness["none"]["auc"] == pytest.approx(
        json.loads((run / "metrics.json").read_text())["validation"]["auc"], abs=1e-4
    )
    assert len({metrics["log_loss"] for metrics in robustness.values()}) == len(robustness), (
        "each change changes something"
    )
    assert (out / "robustness.png").read_bytes().startswith(b"\x89PNG")


def write_three_classes(folder: Path) -> None:
    """Clear chests, chests with an opacity, and inverted chests."""
    for number, name in enumerate(("clear", "patch", "negative")):
        (folder / name).mkdir(parents=True)
        for patient in range(60):
            pixels = draw(1000 * number + patient, opacity=2.5 * (name == "patch"), size=48)
            pixels = 255 - pixels if name == "negative" else pixels
            Image.fromarray(pixels).save(folder / name / f"person{100 * number + patient}_1.png")


def test_a_network_learns_three_classes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, run = tmp_path / "data", tmp_path / "run"
    write_three_classes(data)
    assert main(["fit", "--data", str(data), "--out", str(run), *SMALL, "--sizes", "32x12", "--workers", "1"]) == 0

    said = capsys.readouterr().out
    config, metrics, point = (read() for read in _readers(RunFolder(run)))
    assert config.labels == ("clear", "negative", "patch")
    assert metrics.validation["auc"] > 0.7
    assert metrics.validation["auc_negative"] > 0.95
    assert not metrics.useless
    for name in ("auc", "sensitivity_patch", "auc_negative"):
        low, high = metrics.intervals[name]
        assert low <= metrics.validation[name] <= high
    assert sum(metrics.counts.values()) == metrics.patients
    assert (point.threshold, len(point.set_thresholds)) == (None, 3)
    assert "sensitivity patch" in said
    assert "validation_balanced_accuracy" in history(run)[0]

    # Its network can be the start for other classes, except the last layer.
    from training.network import build
    from training.transfer import initialise

    recipe = scratch_recipe(width=0.1)
    two, five = build(recipe, 3), build(recipe, 5)
    random = five.get_layer("logits").get_weights()[0]
    initialise(two, str(run / "model.keras"), np.zeros((1, 32, 32), np.uint8), 32)
    initialise(five, str(run / "model.keras"), np.zeros((1, 32, 32), np.uint8), 32)
    for found, expected in zip(five.get_weights()[:-2], two.get_weights()[:-2], strict=True):
        np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(five.get_layer("logits").get_weights()[0], random)


def _readers(run: RunFolder) -> tuple[Callable[[], Any], ...]:
    return run.read_config, run.read_metrics, run.read_operating_point


def test_a_network_that_learned_nothing_is_no_better_than_chance(prepared: Path, tmp_path: Path) -> None:
    from training.fit import fit

    # If all inputs of the network are black, all images have the same features.
    blind = tmp_path / "blind"
    shutil.copytree(prepared, blind)
    for name in ("train", "validation"):
        np.save(blind / f"{name}.npy", np.zeros_like(np.load(prepared / f"{name}.npy")))
    phase = Phase(name="only", trainable="head", sizes=(32,), learning_rate=1e-3)
    recipe = Recipe(phases=(phase,), batch_norm=True, width=0.05, augmentation=0)
    metrics = fit(load(blind), tmp_path / "run", recipe, "scratch", workers=1)

    assert "interval of its AUC" in metrics.useless
    assert "NO BETTER THAN CHANCE" in conclude(RunFolder(tmp_path / "run"), blind)
    assert "NO BETTER THAN CHANCE" in (tmp_path / "run" / "train.log").read_text()


@pytest.mark.parametrize(
    ("auc", "decided", "reason"),
    [
        ((0.45, 0.7), [0, 1], "0.45 to 0.70"),
        ((0.2, 0.4), [0, 1], "0.20 to 0.40"),
        ((0.8, 0.9), [1, 1], "every validation image as b"),
        ((0.51, 0.9), [0, 1], ""),
    ],
)
def test_what_is_no_better_than_chance(auc: tuple[float, float], decided: list[int], reason: str) -> None:
    found = uselessness({"auc": auc}, np.array(decided), ("a", "b"))
    assert reason in found
    assert bool(found) == bool(reason)


def test_nothing_but_our_own_lines_reaches_the_log(prepared: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "training", "fit", "--data", str(prepared), *SMALL, "--sizes", "32x1"]
    done = subprocess.run([*command, "--out", str(tmp_path)], check=True, capture_output=True, text=True)

    own = ("progressive: ", "corrupting ", "validation: ", "  loss ", "selecting ", "predicting: ", "resampling: ")
    assert [line for line in done.stderr.splitlines() if not line.startswith((*own, str(prepared)))] == []


def test_early_stopping_ends_a_phase_that_no_longer_improves(prepared: Path, tmp_path: Path) -> None:
    from training.fit import fit

    # A step this small changes nothing that the validation loss would show for long.
    phase = Phase(name="stuck", trainable="head", sizes=(32,) * 40, learning_rate=1e-12, patience=2)
    fit(load(prepared), tmp_path, Recipe(phases=(phase,), batch_norm=False, width=0.05, batch_size=36), "scratch")

    assert len(json.loads((tmp_path / "state.json").read_text())["history"]) < 40


def test_the_frozen_phase_leaves_the_base_alone_and_fine_tuning_the_lower_blocks(
    prepared: Path, tmp_path: Path, vgg19_weights: Path
) -> None:
    import keras

    from training.fit import fit
    from training.network import build
    from training.transfer import initialise

    phases = tuple(
        Phase(name=p.name, trainable=p.trainable, sizes=(48,), learning_rate=1e-3) for p in baseline_recipe().phases
    )
    recipe = baseline_recipe(phases=phases)
    fit(load(prepared), tmp_path, recipe, str(vgg19_weights))
    trained = keras.models.load_model(tmp_path / "model.keras")
    start = build(recipe)
    initialise(start, str(vgg19_weights), load(prepared).pixels["train"], 48)

    for name, moved in (
        ("block1_conv1", False),
        ("block3_conv4", False),
        ("block4_conv1", True),
        ("block5_conv4", True),
    ):
        same = np.array_equal(trained.get_layer(name).get_weights()[0], start.get_layer(name).get_weights()[0])
        assert same != moved, name


def test_weights_of_the_wrong_shape_are_a_clear_error(prepared: Path, tmp_path: Path) -> None:
    import keras

    from training.fit import fit

    phase = Phase(name="only", trainable="all", sizes=(48,), learning_rate=1e-3)
    recipe = Recipe(phases=(phase,), batch_norm=False)
    wrong = keras.Sequential([keras.Input((8,)), keras.layers.Dense(3)])
    wrong.save_weights(tmp_path / "wrong.weights.h5")
    for path, message in ((tmp_path / "wrong.weights.h5", "cannot load"), (tmp_path / "none.h5", "no such weights")):
        with pytest.raises(WeightsError, match=message):
            fit(
                load(prepared), tmp_path / "run", recipe, str(path)
            )  # a folder without a trained epoch can be used again


def test_images_smaller_than_the_network_sees_them_are_refused(
    prepared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fit", "--data", str(prepared), "--out", str(tmp_path), *SMALL, "--sizes", "48x1,64x1"]) == 1
    assert "the prepared images have 48 px, the recipe needs 64" in capsys.readouterr().err


def test_a_recipe_that_does_not_converge_is_an_error(prepared: Path, tmp_path: Path) -> None:
    from training.fit import fit

    phase = Phase(name="wild", trainable="all", sizes=(48,), learning_rate=1e30, warmup_epochs=0)
    with pytest.raises(ConfigError, match="steps are too large"):
        fit(load(prepared), tmp_path, Recipe(phases=(phase,), batch_norm=False, width=0.05, batch_size=36), "scratch")


@pytest.mark.parametrize("choice", ["dropout", "dropout=much", "phases=1", "mixed_precision=1", "=1"])
def test_a_choice_that_no_recipe_has_is_refused(choice: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["fit", "--data", "x", "--out", "y", "--set", choice])
    assert "--set" in capsys.readouterr().err


@pytest.mark.parametrize("sizes", ["64y3", "64xmany", ""])
def test_sizes_that_are_none_are_refused(sizes: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["fit", "--data", "x", "--out", "y", "--sizes", sizes])
    assert "not a list such as 64x10,128x3" in capsys.readouterr().err

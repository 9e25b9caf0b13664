"""Slimming: the right channels go, the budgets hold, and what is left is a network like any other."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.__main__ import main
from training.config import Recipe, scratch_recipe, slim_recipe
from training.distil import Teacher
from training.errors import ConfigError, WeightsError
from training.network import BLOCKS, CONVOLUTIONS, build, widths
from training.prepare import load, prepare
from training.slim import LEAST, STEP, cost, select, transplant
from training.transfer import initialise

WHOLE = widths(scratch_recipe())


def scores(seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.exponential(size=count) for count in WHOLE]


@given(
    seed=st.integers(0, 2**32),
    size=st.sampled_from([64, 96, 128]),
    gmacs=st.floats(0.35, 8),
    parameters=st.floats(1e6, 3e7),
)
@settings(max_examples=15, deadline=None)
def test_both_budgets_hold_and_the_least_important_channels_go(
    seed: int, size: int, gmacs: float, parameters: float
) -> None:
    found = select(scores(seed), size=size, gmacs=gmacs, parameters=parameters)

    macs, weights = cost([len(kept) for kept in found], size)
    assert macs <= gmacs * 1e9
    assert weights <= parameters
    for kept, score in zip(found, scores(seed), strict=True):
        gone = np.setdiff1d(np.arange(len(score)), kept)
        assert len(kept) >= LEAST * len(score)
        assert len(gone) % STEP == 0
        assert len(gone) == 0 or score[kept].min() >= score[gone].max()


@pytest.mark.parametrize(("gmacs", "parameters"), [(0, 1e6), (-1, 1e6), (float("nan"), 1e6), (0.2, 0)])
def test_a_budget_that_is_none_is_refused(gmacs: float, parameters: float) -> None:
    with pytest.raises(ConfigError, match="above zero"):
        select([np.ones(64)] * 16, size=64, gmacs=gmacs, parameters=parameters)


def test_a_budget_that_nothing_fits_is_refused() -> None:
    with pytest.raises(ConfigError, match="make the picture smaller"):
        select(scores(0), size=128, gmacs=0.01, parameters=1e6)


def test_the_cost_is_what_the_layers_say() -> None:
    # Simonyan, Zisserman 2014: 19.5 G multiply-accumulates in VGG19's convolutions at 224 px in colour.
    macs, weights = cost(WHOLE, 224)
    grey_instead_of_colour = 2 * 9 * 64
    assert macs + grey_instead_of_colour * 224**2 == pytest.approx(19.5e9, rel=0.01)
    assert weights + grey_instead_of_colour == 20_018_880


@pytest.mark.slow
def test_channels_that_say_nothing_can_go_without_a_trace() -> None:
    # GIVEN a network in which every other channel is dead: scaled and shifted to zero
    whole = build(scratch_recipe(width=0.25))
    rng = np.random.default_rng(0)
    kept = []
    for name in CONVOLUTIONS:
        norm = whole.get_layer(f"{name}_bn")
        gamma, beta, mean, variance = (rng.uniform(0.5, 1.5, w.shape) for w in norm.get_weights())
        gamma[1::2] = beta[1::2] = 0
        norm.set_weights([gamma, beta, mean, variance])
        kept.append(np.arange(0, len(gamma), 2))
    # WHEN those go
    slim = build(scratch_recipe(channels=tuple(len(stay) for stay in kept)))
    transplant(whole, slim, kept)
    # THEN the network says the same
    pixels = rng.integers(0, 256, (3, 64, 64, 1)).astype(np.float32)
    np.testing.assert_allclose(np.asarray(slim(pixels)), np.asarray(whole(pixels)), atol=1e-5)


@pytest.mark.slow
def test_a_slim_network_is_trained_from_a_whole_one(
    phantoms: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, whole, out = tmp_path / "data", tmp_path / "whole", tmp_path / "slim"
    prepare(phantoms, data, size=48, validation=0.25)
    fit = ["fit", "--data", str(data), "--init", "scratch", "--set", "width=0.25", "--set", "batch_size=16"]
    assert main([*fit, "--sizes", "32x8", "--out", str(whole)]) == 0
    command = ["slim", "--run", str(whole), "--data", str(data), "--out", str(out), "--size", "48", "--epochs", "2"]
    assert main([*command, "--gmacs", "0.02", "--parameters", "4e5"]) == 0

    config = json.loads((out / "config.json").read_text())
    channels = Recipe.from_dict(config["recipe"]).channels
    macs, weights = cost(channels, 48)
    assert macs <= 0.02e9
    assert weights <= 4e5
    assert len(channels) == sum(count for _, count in BLOCKS)
    assert config["teachers"] == ["whole"]
    assert config["init"] == "whole (scratch)"
    black, white = (np.full((1, 48, 48), grey, np.uint8) for grey in (0, 255))
    teacher = Teacher([whole])
    assert not np.array_equal(teacher(white), teacher(black))
    assert json.loads((out / "metrics.json").read_text())["validation"]["auc"] > 0.5
    assert (out / "model.keras").is_file()

    capsys.readouterr()
    assert main(["compare", str(whole), str(tmp_path), str(out)]) == 0
    captured = capsys.readouterr()
    assert f"left out, for they are no finished runs: {tmp_path}" in captured.err
    header, rule, *rows = captured.out.splitlines()
    assert header.count("|") == rule.count("|") == rows[0].count("|")
    assert {row.split("|")[1].strip() for row in rows} == {"whole", "slim"}
    assert main(["compare", str(tmp_path)]) == 1

    # The same command again finds everything done; another budget would be another run.
    assert main([*command, "--gmacs", "0.02", "--parameters", "4e5"]) == 0
    capsys.readouterr()
    assert main([*command, "--gmacs", "0.02", "--parameters", "3e5"]) == 1
    assert "another --out" in capsys.readouterr().err

    # Another split would validate on what the whole network has learned.
    prepare(phantoms, tmp_path / "other", size=48, validation=0.25, seed=1)
    again = [argument if argument != str(data) else str(tmp_path / "other") for argument in command]
    assert main([*again, "--out", str(tmp_path / "leaking")]) == 1
    assert "give the --data that it was trained on" in capsys.readouterr().err
    assert not (tmp_path / "leaking").exists()

    # Its weights are a start for others of its shape, and for no others.
    same = build(slim_recipe(channels, size=48, epochs=1, batch_norm=True))
    initialise(same, str(out / "model.keras"), white, 48)
    with pytest.raises(WeightsError, match="same widths"):
        initialise(build(scratch_recipe(width=0.25)), str(out / "model.keras"), white, 48)


def test_a_student_learns_from_labels_and_teacher_alike(phantoms: Path, tmp_path: Path) -> None:
    from training.fit import Batches

    prepare(phantoms, tmp_path, size=48, validation=0.25)
    data = load(tmp_path)
    recipe = slim_recipe(WHOLE, size=32, epochs=1, batch_norm=True, distillation=0.25, batch_size=4)
    seen = []

    def teacher(pictures: list[np.ndarray]) -> np.ndarray:
        seen.extend(pictures)
        return np.tile(np.float32([0.4, 0.6]), (len(pictures), 1))

    pixels, targets, _ = Batches(data.pixels["train"], data.labels["train"], recipe, 32, 0, teacher)[0]

    labels = (targets - 0.25 * np.float32([0.4, 0.6])) / 0.75
    np.testing.assert_allclose(np.sort(labels, axis=1), np.tile([0, 1], (4, 1)), atol=1e-6)
    assert [picture.shape for picture in seen] == [(48, 48)] * 4, "the teacher sees the picture before it is made small"
    assert pixels.shape == (4, 32, 32, 1)


def test_the_views_of_a_picture_come_again(phantoms: Path, tmp_path: Path) -> None:
    from training.fit import Batches

    prepare(phantoms, tmp_path, size=48, validation=0.25)
    data = load(tmp_path)
    recipe = slim_recipe(WHOLE, size=48, epochs=4, batch_norm=True, views=2)

    asked: list[bytes] = []
    memory: dict = {}

    def teacher(pictures: list[np.ndarray]) -> np.ndarray:
        asked.extend(picture.tobytes() for picture in pictures)
        return np.stack([[picture.mean() / 255, 1 - picture.mean() / 255] for picture in pictures]).astype(np.float32)

    def shown(epoch: int, seen: dict | None) -> dict[bytes, bytes]:
        batches = Batches(data.pixels["train"], data.labels["train"], recipe, 48, epoch, teacher, seen)
        pairs = [pair for i in range(len(batches)) for pair in zip(*batches[i][:2], strict=True)]
        return {picture.tobytes(): target.tobytes() for picture, target in pairs}

    assert shown(0, memory) == shown(2, memory)
    assert shown(1, memory) == shown(3, memory)
    assert shown(0, memory) != shown(1, memory)
    assert len(asked) == 2 * len(data.labels["train"]), "once of each view"
    assert shown(3, None) == shown(3, memory), "an interrupted run, which has forgotten them, goes on with the same"


def test_a_picture_that_shines_through_brings_its_label_along(phantoms: Path, tmp_path: Path) -> None:
    from training.fit import Batches

    prepare(phantoms, tmp_path, size=48, validation=0.25)
    data = load(tmp_path)
    recipe = slim_recipe(WHOLE, size=48, epochs=1, batch_norm=True, mixing=1.0, untouched=0.0, augmentation=0.0)
    black, white = (np.full((48, 48), grey, np.uint8) for grey in (0, 255))
    labels = data.labels["train"]
    pixels = np.stack([white if label else black for label in labels])

    batches = Batches(pixels, labels, recipe, 48, 0)
    shown, targets = (np.concatenate(parts) for parts in zip(*((b[0], b[1]) for b in batches), strict=True))

    # White is the positive class: how bright a picture is says how much of its label is positive.
    np.testing.assert_allclose(shown[:, 0, 0, 0] / 255, targets[:, 1], atol=0.01)
    assert len(np.unique(targets[:, 1])) > 4, "not only whole labels"

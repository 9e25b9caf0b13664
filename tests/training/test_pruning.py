"""Channel pruning: it removes the right channels and observes the limits, and the result is an ordinary network."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from handler.commands import program
from training.__main__ import main
from training.augment import augment
from training.distillation import Teacher
from training.errors import ConfigError, RunError, WeightsError
from training.network import BLOCKS, CONVOLUTIONS, build, widths
from training.prepare import load, prepare
from training.pruning import MINIMUM_KEEP_RATIO, STEP, copy_pruned_weights, cost, importance, select_channels
from training.recipe import Phase, Recipe, pruned_recipe, scratch_recipe
from training.run_folder import RunFolder
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
    found = select_channels(scores(seed), size=size, gmacs=gmacs, parameters=parameters)

    macs, weights = cost([len(kept) for kept in found], size)
    assert macs <= gmacs * 1e9
    assert weights <= parameters
    for kept, score in zip(found, scores(seed), strict=True):
        gone = np.setdiff1d(np.arange(len(score)), kept)
        assert len(kept) >= MINIMUM_KEEP_RATIO * len(score)
        assert len(gone) % STEP == 0
        assert len(gone) == 0 or score[kept].min() >= score[gone].max()


@pytest.mark.parametrize(("gmacs", "parameters"), [(0, 1e6), (-1, 1e6), (float("nan"), 1e6), (0.2, 0)])
def test_a_budget_that_is_none_is_refused(gmacs: float, parameters: float) -> None:
    with pytest.raises(ConfigError, match="above zero"):
        select_channels([np.ones(64)] * 16, size=64, gmacs=gmacs, parameters=parameters)


def test_a_budget_that_nothing_fits_is_refused() -> None:
    with pytest.raises(ConfigError, match="make the image smaller"):
        select_channels(scores(0), size=128, gmacs=0.01, parameters=1e6)


def test_the_cost_is_what_the_layers_say() -> None:
    # Simonyan, Zisserman 2014: 19.5 G multiply-accumulates in VGG19's convolutions at 224 px in colour.
    macs, weights = cost(WHOLE, 224)
    grey_instead_of_colour = 2 * 9 * 64
    assert macs + grey_instead_of_colour * 224**2 == pytest.approx(19.5e9, rel=0.01)
    assert weights + grey_instead_of_colour == 20_018_880


@pytest.mark.slow
@pytest.mark.parametrize("batch_norm", [True, False])
def test_importance_is_the_squared_taylor_expansion(batch_norm: bool, phantoms: Path, tmp_path: Path) -> None:
    """Compare with gradients of the numbers that scale and shift a channel, as in Molchanov et al."""
    tf = pytest.importorskip("tensorflow")
    import keras

    prepare(phantoms, tmp_path, size=32, validation=0.25)
    data = load(tmp_path)
    phase = Phase(name="only", trainable="all", sizes=(32,), learning_rate=1e-3)
    recipe = Recipe(phases=(phase,), batch_norm=batch_norm, width=0.05, label_smoothing=0.05)
    model = build(recipe)
    rng = np.random.default_rng(0)
    for weight in model.weights:
        if weight.name in ("gamma", "beta", "bias"):
            weight.assign(rng.uniform(0.5, 1.5, weight.shape))
    before = [weights.copy() for weights in model.get_weights()]

    found = importance(model, data, recipe, seed=3)

    rng = np.random.default_rng(3)
    loss = keras.losses.CategoricalCrossentropy(label_smoothing=0.05)
    layers = {name: model.get_layer(f"{name}_bn" if batch_norm else name) for name in CONVOLUTIONS}
    expected = {name: np.zeros(len(scores)) for name, scores in found.items()}
    for _ in range(48):
        chosen = rng.integers(0, len(data.labels["train"]), 32)
        images = np.stack([augment(data.pixels["train"][i], rng) for i in chosen])
        with tf.GradientTape() as tape:
            value = loss(np.eye(2)[data.labels["train"][chosen]], model(images[..., np.newaxis], training=False))
        variables = {name: [v.value for v in layer.trainable_variables] for name, layer in layers.items()}
        for name, gradients in tape.gradient(value, variables).items():
            parts = [np.asarray(g * v) for g, v in zip(gradients, variables[name], strict=True)]
            expected[name] += sum(part.reshape(-1, part.shape[-1]).sum(axis=0) for part in parts) ** 2 / 48
    for name, scores in found.items():
        np.testing.assert_allclose(scores, expected[name], rtol=2e-3, atol=1e-4 * expected[name].max())
    assert max(scores.max() for scores in found.values()) > 0
    assert all(np.array_equal(b, a) for b, a in zip(before, model.get_weights(), strict=True)), (
        "the network is not changed"
    )


@pytest.mark.slow
def test_channels_that_say_nothing_can_go_without_a_trace() -> None:
    # GIVEN a network in which every second channel is always zero
    whole = build(scratch_recipe(width=0.25))
    rng = np.random.default_rng(0)
    kept = []
    for name in CONVOLUTIONS:
        norm = whole.get_layer(f"{name}_bn")
        gamma, beta, mean, variance = (rng.uniform(0.5, 1.5, w.shape) for w in norm.get_weights())
        gamma[1::2] = beta[1::2] = 0
        norm.set_weights([gamma, beta, mean, variance])
        kept.append(np.arange(0, len(gamma), 2))
    # WHEN these channels are removed
    pruned = build(scratch_recipe(channels=tuple(len(stay) for stay in kept)))
    copy_pruned_weights(whole, pruned, kept)
    # THEN the probabilities are the same
    pixels = rng.integers(0, 256, (3, 64, 64, 1)).astype(np.float32)
    np.testing.assert_allclose(np.asarray(pruned(pixels)), np.asarray(whole(pixels)), atol=1e-5)


@pytest.mark.slow
def test_a_pruned_network_is_trained_from_an_unpruned_one(
    phantoms: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, whole, out = tmp_path / "data", tmp_path / "whole", tmp_path / "pruned"
    prepare(phantoms, data, size=48, validation=0.25)
    fit = ["fit", "--data", str(data), "--init", "scratch", "--set", "width=0.25", "--set", "batch_size=12"]
    assert main([*fit, "--sizes", "32x8", "--out", str(whole)]) == 0
    command = ["prune", "--run", str(whole), "--data", str(data), "--out", str(out), "--size", "48", "--epochs", "2"]
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
    prepared = load(data)
    teacher = Teacher([RunFolder(whole)], prepared)
    assert not np.array_equal(teacher(white), teacher(black))
    with pytest.raises(RunError, match="has the classes NORMAL, PNEUMONIA"):
        Teacher([RunFolder(whole)], dataclasses.replace(prepared, names=("NORMAL", "BACTERIA", "VIRUS")))
    assert json.loads((out / "metrics.json").read_text())["validation"]["auc"] > 0.5
    assert (out / "model.keras").is_file()
    assert not (out / "pruned.keras").exists(), "it is no longer needed"

    capsys.readouterr()
    assert main(["compare", str(whole), str(tmp_path), str(out)]) == 0
    captured = capsys.readouterr()
    assert f"left out, because they are not finished runs: {tmp_path}" in captured.err
    header, rule, *rows, after = captured.out.splitlines()
    assert after.startswith(f"next: {program('training')} evaluate")
    assert header.count("|") == rule.count("|") == rows[0].count("|")
    assert {row.split("|")[1].strip() for row in rows} == {"whole", "pruned"}
    assert main(["compare", str(tmp_path)]) == 1

    # The same command again has nothing to do; other limits would be another run.
    assert main([*command, "--gmacs", "0.02", "--parameters", "4e5"]) == 0
    capsys.readouterr()
    assert main([*command, "--gmacs", "0.02", "--parameters", "3e5"]) == 1
    assert "another --out" in capsys.readouterr().err

    # Another split would validate on training images of the unpruned network.
    prepare(phantoms, tmp_path / "other", size=48, validation=0.25, seed=1)
    again = [argument if argument != str(data) else str(tmp_path / "other") for argument in command]
    assert main([*again, "--out", str(tmp_path / "leaking")]) == 1
    assert "give the --data that it was trained with" in capsys.readouterr().err
    assert not (tmp_path / "leaking").exists()

    # Its weights can be the start only for networks with the same shape.
    same = build(pruned_recipe(channels, size=48, epochs=1, batch_norm=True))
    initialise(same, str(out / "model.keras"), white, 48)
    with pytest.raises(WeightsError, match="same widths"):
        initialise(build(scratch_recipe(width=0.25)), str(out / "model.keras"), white, 48)

"""Train a network.

    python -m training fit --data data/prepared --out runs/vgg19 --init scratch

The same command again continues an interrupted run.
"""

import dataclasses
import logging
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import keras
import numpy as np
from tqdm import tqdm

from handler.files import write_atomically
from training import operating_point
from training.averaging import WeightAverage
from training.batches import Batches, CachedAugmentations
from training.distillation import Teacher
from training.errors import ConfigError, DataError
from training.metrics import summary
from training.network import build, predict, set_trainable
from training.ood import fit_ood
from training.plots import plot_curves
from training.prepare import Prepared
from training.recipe import Phase, Recipe
from training.run_folder import RunConfig, RunFolder, RunMetrics, RunSplit, RunState
from training.transfer import initialise

log = logging.getLogger(__name__)


def fit(
    data: Prepared,
    out: Path,
    recipe: Recipe,
    init: str,
    source: str = "",
    teacher: Teacher | None = None,
    origin: str = "",
) -> RunMetrics:
    """Train by `recipe`, from the beginning or from the last finished epoch in `out`.

    Args:
        data: uint8 images and labels of both splits.
        out: the run folder.
        init: see `training.transfer.initialise`.
        source: name of the data set, for the run's configuration.
        teacher: the network also learns its probabilities, see `Recipe.distillation`.
        origin: name of the initial weights, for the run's configuration; by default the name of `init`.

    Raises:
        RunError: `out` contains a run with another recipe or other data.
        DataError: the images are smaller than the sizes of the recipe.
        WeightsError: the initial weights do not fit.
        ConfigError: the loss of the recipe is not finite.
    """
    largest, side = max(max(phase.sizes) for phase in recipe.phases), data.pixels["train"].shape[-1]
    if side < largest:
        raise DataError(f"images are prepared at {side} px and would be enlarged to {largest}: prepare them larger")
    run = RunFolder(out)
    config = RunConfig(
        recipe=recipe,
        init=origin or Path(init).name,
        teachers=teacher.names if teacher else (),
        data=source,
        images={name: len(files) for name, files in data.files.items()},
    )
    run.claim(config, RunSplit(train=tuple(data.files["train"]), validation=tuple(data.files["validation"])))
    keras.utils.set_random_seed(recipe.seed)
    state = RunState()
    if run.started:
        state = run.read_state()
        log.info("continuing after epoch %d", len(state.history))
    if state.phase < len(recipe.phases):
        _train(data, run, recipe, init, state, teacher)
    return _finish(data, run, recipe, state)


def _train(data: Prepared, run: RunFolder, recipe: Recipe, init: str, state: RunState, teacher: Teacher | None) -> None:
    average = build(recipe)
    if not state.checkpoint:
        initialise(average, init, data.pixels["train"], recipe.size)
    while state.phase < len(recipe.phases):
        phase = recipe.phases[state.phase]
        if state.epoch == 0:
            if state.phase > 0:  # a phase starts from the best epoch of the previous phase
                average.load_weights(run.best_weights(recipe.phases[state.phase - 1].name))
            model = build(recipe)
            model.set_weights(average.get_weights())
            _compile(model, phase, recipe, len(data.labels["train"]))
        else:
            whole, averaged = run.checkpoint_files(state)
            model = _reopen(whole, phase, recipe, len(data.labels["train"]))
            average.load_weights(averaged)
        _run_phase(model, average, data, run, recipe, state, teacher)
        state.phase, state.epoch, state.best, state.stale = state.phase + 1, 0, 0.0, 0
        run.write_state(state)
    run.delete_checkpoints()


def _run_phase(
    model: keras.Model,
    average: keras.Model,
    data: Prepared,
    run: RunFolder,
    recipe: Recipe,
    state: RunState,
    teacher: Teacher | None,
) -> None:
    phase = recipe.phases[state.phase]
    labels = data.labels["validation"]
    cache: CachedAugmentations = {}
    corrupted = operating_point.corrupted_validation_set(data.pixels["validation"], recipe.seed, copies=1)
    while state.epoch < len(phase.sizes) and state.stale < phase.patience:
        size = phase.sizes[state.epoch]
        number = len(state.history)
        log.info("%s: epoch %d of %d at %d px", phase.name, state.epoch + 1, len(phase.sizes), size)
        batches = Batches(data.pixels["train"], data.labels["train"], recipe, size, number, teacher, cache)
        averaging = WeightAverage(model, average, recipe.average_decay, number * len(batches))
        # Keras does not save the random state of dropout, so each epoch sets its own state.
        model.get_layer("head_dropout").seed_generator.state.assign([recipe.seed, number])
        start = time.monotonic()
        loss = train_epoch(model, batches, averaging)
        if not np.isfinite(loss):
            raise ConfigError(f"the loss of epoch {number + 1} is not finite: the recipe's steps are too large")
        probabilities = predict(average, corrupted, size)
        metrics = summary(probabilities[: len(labels)], labels, threshold=0.5)
        corrupted_auc = summary(probabilities, np.tile(labels, 2), threshold=0.5)["auc"]
        row = {"phase": phase.name, "epoch": state.epoch + 1, "size": size, "loss": loss}
        row["seconds"] = round(time.monotonic() - start, 1)
        row |= {f"validation_{name}": metrics[name] for name in ("log_loss", "auc", "sensitivity", "specificity")}
        row["corrupted_auc"] = corrupted_auc
        state.history.append(row)
        state.epoch += 1
        final_size = size == phase.sizes[-1]
        if final_size and corrupted_auc > state.best:
            state.best, state.stale = corrupted_auc, 0
            write_atomically(run.best_weights(phase.name), average.save_weights)
        elif final_size:
            state.stale += 1
        log.info(
            "  loss %.4f in %.0f s; validation: log loss %.4f, AUC %.4f (corrupted %.4f), sensitivity %.3f, "
            "specificity %.3f at 0.5",
            *(row[name] for name in ("loss", "seconds")),
            *(metrics[name] for name in ("log_loss", "auc")),
            corrupted_auc,
            *(metrics[name] for name in ("sensitivity", "specificity")),
        )
        run.save_checkpoint(state, model, average)
        plot_curves(state.history, run.curves)


def train_epoch(model: keras.Model, batches: Batches, averaging: WeightAverage) -> float:
    """Train on all batches once.

    A thread prepares the next batch while the network trains on the current one. `model.fit` would do the same, but
    with TensorFlow it waits many seconds at the end of each epoch, for the thread that tunes its pipeline.

    Returns:
        The mean loss per image.
    """
    total, count = 0.0, 0
    with ThreadPoolExecutor(1, thread_name_prefix="batches") as ahead:
        coming = ahead.submit(batches.__getitem__, 0)
        for index in (bar := tqdm(range(len(batches)), leave=False, disable=not sys.stderr.isatty())):
            pixels, targets, weights = coming.result()
            if index + 1 < len(batches):
                coming = ahead.submit(batches.__getitem__, index + 1)
            loss = model.train_on_batch(pixels, targets, sample_weight=weights, return_dict=True)["loss"]
            averaging.after_step()
            total, count = total + float(loss) * len(targets), count + len(targets)
            bar.set_postfix(loss=f"{total / count:.4f}")
    averaging.after_epoch()
    return total / count


def _reopen(path: Path, phase: Phase, recipe: Recipe, images: int) -> keras.Model:
    """Load a network with the state of its optimizer. Keras does not save which variables are excluded from weight
    decay, so the state is copied into an optimizer that `_compile` has made."""
    saved = keras.models.load_model(path)
    model = build(recipe)
    model.set_weights(saved.get_weights())
    _compile(model, phase, recipe, images)
    model.optimizer.build(model.trainable_variables)
    for variable, value in zip(model.optimizer.variables, saved.optimizer.variables, strict=True):
        variable.assign(value)
    return model


def _compile(model: keras.Model, phase: Phase, recipe: Recipe, images: int) -> None:
    set_trainable(model, phase.trainable)
    steps = -(-images // recipe.batch_size)
    warmup = round(phase.warmup_epochs * steps)
    schedule = keras.optimizers.schedules.CosineDecay(
        phase.learning_rate / 100,
        decay_steps=max(1, (phase.schedule_epochs or len(phase.sizes)) * steps - warmup),
        alpha=0.01,
        warmup_target=phase.learning_rate,
        warmup_steps=warmup,
    )
    optimizer = keras.optimizers.AdamW(schedule, weight_decay=recipe.weight_decay)
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    loss = keras.losses.CategoricalCrossentropy(label_smoothing=recipe.label_smoothing)
    model.compile(optimizer=optimizer, loss=loss, weighted_metrics=[])


def _finish(data: Prepared, run: RunFolder, recipe: Recipe, state: RunState) -> RunMetrics:
    """Save the best network, its OOD statistics, its results on validation, and its operating point."""
    log.info("selecting the operating point on the corrupted validation set")
    model = build(dataclasses.replace(recipe, mixed_precision=False))  # evaluation and export use float32
    model.load_weights(run.best_weights(recipe.phases[-1].name))
    pixels, labels = data.pixels["validation"], data.labels["validation"]
    count, copies = len(labels), operating_point.CORRUPTED_COPIES
    raw = predict(model, operating_point.corrupted_validation_set(pixels, recipe.seed), recipe.size)
    logit_bias = operating_point.fit_logit_bias(raw, np.tile(labels, 1 + copies))
    bias = model.get_layer("logits").bias
    bias.assign(bias + np.array([0, logit_bias], np.float32))
    write_atomically(run.model, model.save)
    biased = operating_point.calibrate(raw, logit_bias=logit_bias)
    point = operating_point.select(biased, labels, recipe.size)
    calibrated = operating_point.calibrate(biased, point.temperature)
    metrics = RunMetrics(
        epochs=len(state.history),
        uncalibrated=summary(raw[:count], labels, 0.5),
        validation=summary(calibrated[:count], labels, point.threshold),
        corrupted=summary(calibrated[count:], np.tile(labels, copies), point.threshold),
    )
    run.write_ood(fit_ood(model, data.pixels["train"], recipe.size, recipe.seed))
    run.write_metrics(metrics)
    run.write_operating_point(point)
    return metrics

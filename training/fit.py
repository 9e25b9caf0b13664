"""Train a network.

    python -m training fit --data data/prepared --out runs/vgg19 --init scratch

To continue an interrupted run, run the same command again.
"""

import dataclasses
import functools
import logging
import math
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import keras
import numpy as np
import numpy.typing as npt

from handler.calibration import calibrate, fit_scaling
from handler.contract import decide
from handler.files import write_atomically
from handler.imaging.decode import Pixels
from training.averaging import WeightAverage
from training.backend import use_all_devices
from training.batches import Batches, Corrupted
from training.conclusion import uselessness
from training.distillation import Teacher
from training.errors import ConfigError, DataError
from training.metrics import bootstrap, summary
from training.network import build, predict_batches
from training.ood import fit_ood
from training.operating_point import CORRUPTED_COPIES, select
from training.plots import plot_curves
from training.prepare import Prepared
from training.processes import Workers
from training.progress import logged_to, progress
from training.recipe import Recipe
from training.run_folder import NO_AUC, RunConfig, RunFolder, RunMetrics, RunSplit, RunState
from training.steps import prepare_phase, reopen, train_epoch
from training.transfer import initialise

log = logging.getLogger(__name__)

_ROUNDS = 400
_RESAMPLED = 2_000_000
"""Most rounds of the bootstrap, and most probabilities that all rounds look at."""

_IN_MEMORY = 2**28
"""Most bytes of corrupted validation images that are kept in memory. A larger set is made again in each epoch."""

_BETWEEN_PLOTS = 30
"""Least time between two plots in seconds. A plot takes as long as a short epoch."""


def fit(
    data: Prepared,
    out: Path,
    recipe: Recipe,
    init: str,
    source: str = "",
    teacher: Teacher | None = None,
    origin: str = "",
    workers: int | None = None,
) -> RunMetrics:
    """Train with `recipe`, from the beginning or from the last finished epoch in `out`.

    Args:
        data: uint8 images and labels of both splits.
        out: the run folder.
        init: see `training.transfer.initialise`.
        source: name of the data set in the run's configuration.
        teacher: the network also learns its probabilities, see `Recipe.distillation`.
        origin: name of the initial weights in the run's configuration; by default the name of `init`.
        workers: number of processes that augment images; by default one for each core. It does not change the result.

    Raises:
        RunError: `out` contains a run with another recipe or other data.
        DataError: the images are smaller than the sizes of the recipe, or the operating system ended a worker.
        WeightsError: the initial weights do not fit.
        ConfigError: the loss of the recipe is not finite.
    """
    largest, side = max(max(phase.sizes) for phase in recipe.phases), data.pixels["train"].shape[-1]
    if side < largest:
        raise DataError(f"the prepared images have {side} px, the recipe needs {largest}: prepare them at that --size")
    run = RunFolder(out)
    config = RunConfig(
        recipe=recipe,
        init=origin or Path(init).name,
        teachers=teacher.names if teacher else (),
        data=source,
        images={name: len(files) for name, files in data.files.items()},
        labels=data.names,
    )
    run.claim(config, RunSplit(train=tuple(data.files["train"]), validation=tuple(data.files["validation"])))
    if run.has_operating_point:
        log.info("%s is finished", run.path)
        run.delete_intermediate()
        return run.read_metrics()
    with logged_to(run.log), Workers(workers, len(data.labels["train"])) as pool:
        if (devices := use_all_devices()) > 1:
            log.info("training on %d devices", devices)
        keras.utils.set_random_seed(recipe.seed)
        training = _Training(data, run, recipe, init, teacher, pool, RunState())
        if run.started:
            training.state = run.read_state()
            log.info("continuing after epoch %d", len(training.state.history))
        if training.state.phase < len(recipe.phases):
            _train(training)
        metrics = _finish(training)
        run.delete_intermediate()
    return metrics


@dataclasses.dataclass(slots=True)
class _Training:
    """The state that the steps of one call of `fit` share."""

    data: Prepared
    run: RunFolder
    recipe: Recipe
    init: str
    teacher: Teacher | None
    workers: Workers
    state: RunState
    validation: dict[int, list[Pixels]] = dataclasses.field(default_factory=dict)
    """Batches of the corrupted validation set, for the latest image size only, if they fit into `_IN_MEMORY`."""
    plotted: float = -math.inf
    """Time of the latest plot, in seconds of `time.monotonic`."""

    @property
    def classes(self) -> int:
        return len(self.data.names)

    def corrupted(self, size: int) -> Corrupted:
        file, count = self.data.folder / "validation.npy", len(self.data.labels["validation"])
        return Corrupted(file, count, self.recipe.seed, size)

    def validate(self, network: keras.Model, size: int) -> npt.NDArray[np.float64]:
        """Probabilities `[2 N, K]` of the validation images and of one corrupted copy of each."""
        total = 2 * len(self.data.labels["validation"])

        def shown(batches: Iterable[Pixels], what: str) -> Iterator[Pixels]:
            return progress(batches, what, total=total, each=len)

        if size not in self.validation:
            self.validation = {}
            batches = self.corrupted(size).batches(1, self.workers)
            if total * size**2 > _IN_MEMORY:
                return predict_batches(network, shown(batches, "validation"))
            self.validation[size] = list(shown(batches, "corrupting validation images"))
        return predict_batches(network, shown(self.validation[size], "validation"))

    def plot(self, *, last: bool = False) -> None:
        """Plot the curves at most once in `_BETWEEN_PLOTS`, and always for the last time."""
        if last or time.monotonic() - self.plotted > _BETWEEN_PLOTS:
            plot_curves(self.state.history, self.run.curves)
            self.plotted = time.monotonic()


def _train(training: _Training) -> None:
    data, run, recipe, state = training.data, training.run, training.recipe, training.state
    average = build(recipe, training.classes)
    if not state.checkpoint:
        initialise(average, training.init, data.pixels["train"], recipe.size)
    while state.phase < len(recipe.phases):
        phase = recipe.phases[state.phase]
        if state.epoch == 0:
            if state.phase > 0:  # a phase starts with the weights of the best epoch of the previous phase
                average.load_weights(run.best_weights(recipe.phases[state.phase - 1].name))
            model = build(recipe, training.classes)
            model.set_weights(average.get_weights())
            prepare_phase(model, phase, recipe, len(data.labels["train"]))
        else:
            whole, averaged = run.checkpoint_files(state)
            model = reopen(whole, phase, recipe, training.classes, len(data.labels["train"]))
            average.load_weights(averaged)
        _run_phase(model, average, training)
        training.plot(last=True)
        state.phase, state.epoch, state.best, state.stale = state.phase + 1, 0, NO_AUC, 0
        run.write_state(state)


def _run_phase(model: keras.Model, average: keras.Model, training: _Training) -> None:
    data, run, recipe, state = training.data, training.run, training.recipe, training.state
    phase = recipe.phases[state.phase]
    labels, train = data.labels["validation"], data.folder / "train.npy"
    undecided = 0.5 if training.classes == 2 else None
    while state.epoch < len(phase.sizes) and state.stale < phase.patience:
        size = phase.sizes[state.epoch]
        number = len(state.history)
        title = f"{phase.name}: epoch {state.epoch + 1} of {len(phase.sizes)}"
        log.info("%s at %d px", title, size)
        batches = Batches(
            *(train, data.labels["train"], training.classes, recipe, size, number),
            *(training.workers, training.teacher, run.kept),
        )
        averaging = WeightAverage(model, average, recipe.average_decay, number * len(batches))
        # Keras does not save the random state of dropout, so each epoch sets its own state.
        if recipe.dropout > 0:
            model.get_layer("head_dropout").seed_generator.state.assign([recipe.seed, number])
        start = time.monotonic()
        loss = train_epoch(model, batches, averaging, title)
        if not np.isfinite(loss):
            raise ConfigError(f"the loss of epoch {number + 1} is not finite: the recipe's steps are too large")
        probabilities = training.validate(average, size)
        metrics = summary(probabilities[: len(labels)], labels, undecided, data.names)
        corrupted_auc = summary(probabilities, np.tile(labels, 2), undecided, data.names)["auc"]
        row = {"phase": phase.name, "epoch": state.epoch + 1, "size": size, "loss": loss}
        row["seconds"] = round(time.monotonic() - start, 1)
        row |= {f"validation_{name}": metrics[name] for name in ("log_loss", "auc", "balanced_accuracy")}
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
            "  loss %.4f in %.0f s; validation: log loss %.4f, AUC %.4f (corrupted %.4f), balanced accuracy %.3f",
            *(row[name] for name in ("loss", "seconds")),
            *(metrics[name] for name in ("log_loss", "auc")),
            corrupted_auc,
            metrics["balanced_accuracy"],
        )
        run.save_checkpoint(state, model, average)
        training.plot()


def _finish(training: _Training) -> RunMetrics:
    """Save the best network, its OOD statistics, its validation results, and its operating point."""
    log.info("selecting the operating point on the corrupted validation set")
    data, run, recipe = training.data, training.run, training.recipe
    # Evaluation and export use float32.
    model = build(dataclasses.replace(recipe, mixed_precision=False), training.classes)
    model.load_weights(run.best_weights(recipe.phases[-1].name))
    labels, names, patients = data.labels["validation"], data.names, data.patients["validation"]
    count, copies = len(labels), CORRUPTED_COPIES
    batches = training.corrupted(recipe.size).batches(copies, training.workers)
    shown = progress(batches, "predicting", total=count * (1 + copies), each=len)
    raw = predict_batches(model, shown)
    temperature, biases = fit_scaling(raw, np.tile(labels, 1 + copies))
    bias = model.get_layer("logits").bias
    bias.assign(keras.ops.convert_to_numpy(bias) + biases.astype(np.float32))
    write_atomically(run.model, model.save)
    calibrated = calibrate(raw, temperature, biases)
    point = select(calibrated, labels, temperature, recipe.size)
    intervals = bootstrap(
        *(calibrated[:count], labels, point.threshold, names, patients),
        rounds=max(100, min(_ROUNDS, _RESAMPLED // (count * len(names)))),
        progress=functools.partial(progress, what="resampling", unit="round"),
    )
    metrics = RunMetrics(
        epochs=len(training.state.history),
        uncalibrated=summary(raw[:count], labels, 0.5 if len(names) == 2 else None, names),
        validation=summary(calibrated[:count], labels, point.threshold, names),
        corrupted=summary(calibrated[count:], np.tile(labels, copies), point.threshold, names),
        intervals=intervals,
        counts={name: int((labels == label).sum()) for label, name in enumerate(names)},
        patients=len(set(patients)),
        useless=uselessness(intervals, decide(calibrated[:count], point.threshold), names),
    )
    run.write_ood(fit_ood(model, data.pixels["train"], recipe.size, recipe.seed))
    run.write_metrics(metrics)
    run.write_operating_point(point)
    return metrics

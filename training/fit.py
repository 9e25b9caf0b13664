"""Train a network.

    python -m training fit --data data/prepared --out runs/vgg19 --init scratch

An interrupted run goes on where it stopped when the same command is given again.
"""

import dataclasses
import functools
import json
import logging
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from PIL import Image
from tqdm import tqdm

from handler.contract import LABELS
from handler.files import write_atomically, write_json
from handler.imaging.decode import Pixels
from training import operating
from training.augment import augment, frame, resize
from training.config import Phase, Recipe
from training.distil import Teacher
from training.errors import ConfigError, DataError, RunError
from training.familiarity import fit_familiarity
from training.metrics import summary
from training.network import build, set_trainable
from training.plots import plot_curves
from training.prepare import Prepared
from training.transfer import initialise

log = logging.getLogger(__name__)

_AVERAGE_EVERY = 4
"""Steps between two updates of the averaged weights; each update touches all 80 MB of them."""

Example = tuple[Pixels, npt.NDArray[np.float32]]
"""A picture `[S, S]`, and the probabilities `[2]` to learn of it."""

Batch = tuple[Pixels, npt.NDArray[np.float32], npt.NDArray[np.float32]]
"""Pictures `[B, S, S, 1]`, probabilities to learn `[B, 2]`, and how much each counts `[B]`."""

_ONE_HOT = np.eye(len(LABELS), dtype=np.float32)


class Batches(Sequence[Batch]):
    """One epoch of shuffled, augmented, class-weighted pictures. The same seed and epoch give the same pictures.

    Args:
        teacher: gives probabilities `[N, 2]` of pictures `[S, S]` each.
        seen: where views that come again are kept from epoch to epoch, so that no teacher is asked twice and no picture
            varied twice. A view takes as many bytes as it has pixels.
    """

    def __init__(
        self,
        pixels: Pixels,
        labels: npt.NDArray[np.int64],
        recipe: Recipe,
        size: int,
        epoch: int,
        teacher: Callable[[Sequence[Pixels]], npt.NDArray[np.float32]] | None = None,
        seen: dict[tuple[int, int, int], Example] | None = None,
    ) -> None:
        self._seen = seen if recipe.views else None
        self._pixels, self._labels, self._recipe, self._size = pixels, labels, recipe, size
        self._teacher = teacher
        self._view = epoch % recipe.views if recipe.views else epoch
        self._order = np.random.default_rng((recipe.seed, epoch)).permutation(len(labels))
        # The one place where class imbalance is handled: both classes weigh the same in the loss.
        self._class_weight = len(labels) / (2 * np.bincount(labels, minlength=len(LABELS)))

    def __len__(self) -> int:
        return -(-len(self._order) // self._recipe.batch_size)

    def __getitem__(self, index: int) -> Batch:  # type: ignore[override]  # nobody asks for a slice
        if not 0 <= index < len(self):
            raise IndexError(index)
        chosen = self._order[index * self._recipe.batch_size :][: self._recipe.batch_size]
        examples = self._examples(chosen)
        pixels, targets = (np.stack(part) for part in zip(*examples, strict=True))
        return pixels[..., np.newaxis], targets, self._class_weight[self._labels[chosen]].astype(np.float32)

    def _examples(self, chosen: npt.NDArray[np.int64]) -> list[Example]:
        if self._seen is None:
            return self._made(chosen)
        keys = [(self._size, self._view, int(i)) for i in chosen]
        if unseen := [key for key in keys if key not in self._seen]:
            self._seen.update(zip(unseen, self._made(np.array([i for *_, i in unseen])), strict=True))
        return [self._seen[key] for key in keys]

    def _made(self, chosen: npt.NDArray[np.int64]) -> list[Example]:
        """This epoch's views of pictures, and what labels and teacher say of them."""
        views = [self._varied(i) for i in chosen]
        pictures, targets = [picture for picture, _ in views], np.stack([target for _, target in views])
        if self._teacher:
            share = self._recipe.distillation
            targets = (1 - share) * targets + share * self._teacher(pictures)
        return [(resize(picture, self._size), target) for picture, target in zip(pictures, targets, strict=True)]

    def _varied(self, i: int) -> Example:
        """This epoch's view of picture `i`, and what its labels say."""
        recipe, target = self._recipe, _ONE_HOT[self._labels[i]]
        rng = np.random.default_rng((recipe.seed, self._view, int(i)))
        if rng.random() < recipe.untouched:
            return frame(self._pixels[i], rng, recipe.augmentation), target
        picture = augment(self._pixels[i], rng, recipe.augmentation)
        if rng.random() < recipe.mixing:
            other, share = int(rng.integers(len(self._labels))), rng.uniform(0, 0.5)
            shining = augment(self._pixels[other], rng, recipe.augmentation)
            picture = np.asarray(Image.blend(Image.fromarray(picture), Image.fromarray(shining), share))
            target = np.asarray((1 - share) * target + share * _ONE_HOT[self._labels[other]], np.float32)
        return picture, target


class Average:
    """Keeps an exponential moving average of all weights, BatchNorm statistics included, in a second network.

    Args:
        step: how many have been made.
    """

    def __init__(self, model: keras.Model, average: keras.Model, decay: float, step: int) -> None:
        self._model, self._average, self._decay, self._step = model, average, decay, step

    def after_step(self) -> None:
        self._step += 1
        if self._decay > 0 and self._step % _AVERAGE_EVERY == 0:
            # A short memory at first, so that the random start is soon forgotten.
            decay = min(self._decay, self._step / (10 + self._step)) ** _AVERAGE_EVERY
            self._update(decay)

    def after_epoch(self) -> None:
        if self._decay == 0:
            self._update(0.0)

    def _update(self, decay: float) -> None:
        for mean, weight in zip(self._average.weights, self._model.weights, strict=True):
            mean.assign(decay * mean + (1 - decay) * keras.ops.cast(weight, mean.dtype))


def train_epoch(model: keras.Model, batches: Batches, averaging: Average) -> float:
    """Show all batches once, and give the mean loss. One thread makes the next batch while the network learns from this
    one. `model.fit` would do the same, but on TensorFlow waits for many seconds at the end of each epoch, until what
    tunes its pipeline awakes."""
    total, seen = 0.0, 0
    with ThreadPoolExecutor(1, thread_name_prefix="batches") as ahead:
        coming = ahead.submit(batches.__getitem__, 0)
        for index in (bar := tqdm(range(len(batches)), leave=False, disable=not sys.stderr.isatty())):
            pixels, targets, weights = coming.result()
            if index + 1 < len(batches):
                coming = ahead.submit(batches.__getitem__, index + 1)
            loss = model.train_on_batch(pixels, targets, sample_weight=weights, return_dict=True)["loss"]
            averaging.after_step()
            total, seen = total + float(loss) * len(targets), seen + len(targets)
            bar.set_postfix(loss=f"{total / seen:.4f}")
    averaging.after_epoch()
    return total / seen


@dataclasses.dataclass(slots=True)
class State:
    """Where a run stands: everything besides the weights that going on needs."""

    phase: int = 0
    epoch: int = 0
    """Within the phase; the next one to train."""
    best: float = 0.0
    """Greatest AUC of the phase so far on the stressed validation pictures. Log loss would judge the balance of the
    classes as well, which the operating point sets right afterwards."""
    stale: int = 0
    """Epochs since then."""
    checkpoint: str = ""
    history: list[dict[str, Any]] = dataclasses.field(default_factory=list)


def fit(
    data: Prepared,
    out: Path,
    recipe: Recipe,
    init: str,
    source: str = "",
    teacher: Teacher | None = None,
    origin: str = "",
) -> dict[str, Any]:
    """Train `recipe` from the beginning, or from the last finished epoch in `out`.

    Args:
        init: see `training.transfer.initialise`.
        source: what the data is called in the run's records.
        teacher: whose probabilities the network learns besides the labels, see `Recipe.distillation`.
        origin: what `init` is called in the run's records, if not by its own name.

    Returns:
        How many `epochs` were run, and the metrics of `training.metrics.summary` on `validation`, on its corrupted
        copies (`stress`), and on validation before calibration (`uncalibrated`, at a threshold of one half).

    Raises:
        RunError: `out` holds a run of another recipe or of other data.
        DataError: the pictures are smaller than the network would see them.
        WeightsError: the initial weights do not fit.
        ConfigError: the recipe does not converge.
    """
    largest, side = max(max(phase.sizes) for phase in recipe.phases), data.pixels["train"].shape[-1]
    if side < largest:
        raise DataError(f"pictures are prepared at {side} px and would be enlarged to {largest}: prepare them larger")
    _claim(out, recipe, origin or Path(init).name, data, source, teacher)
    keras.utils.set_random_seed(recipe.seed)
    state = _read_state(out)
    if state.phase < len(recipe.phases):
        _train(data, out, recipe, init, state, teacher)
    return _finish(data, out, recipe, state)


def _train(data: Prepared, out: Path, recipe: Recipe, init: str, state: State, teacher: Teacher | None) -> None:
    average = build(recipe)
    if not state.checkpoint:
        initialise(average, init, data.pixels["train"], recipe.size)
    while state.phase < len(recipe.phases):
        phase = recipe.phases[state.phase]
        if state.epoch == 0:
            if state.phase > 0:  # the next phase starts from the best epoch of the one before
                average.load_weights(_best(out, recipe.phases[state.phase - 1]))
            model = build(recipe)
            model.set_weights(average.get_weights())
            _compile(model, phase, recipe, len(data.labels["train"]))
        else:
            model = _reopen(out / f"{state.checkpoint}.keras", phase, recipe, len(data.labels["train"]))
            average.load_weights(out / f"{state.checkpoint}.weights.h5")
        _run_phase(model, average, data, out, recipe, state, teacher)
        state.phase, state.epoch, state.best, state.stale = state.phase + 1, 0, 0.0, 0
        write_json(out / "state.json", dataclasses.asdict(state))
    for leftover in _checkpoints(out):
        leftover.unlink()


def _run_phase(
    model: keras.Model,
    average: keras.Model,
    data: Prepared,
    out: Path,
    recipe: Recipe,
    state: State,
    teacher: Teacher | None,
) -> None:
    phase = recipe.phases[state.phase]
    labels = data.labels["validation"]
    seen: dict[tuple[int, int, int], Example] = {}
    stressed = operating.stress(data.pixels["validation"], recipe.seed, copies=1)
    while state.epoch < len(phase.sizes) and state.stale < phase.patience:
        size = phase.sizes[state.epoch]
        number = len(state.history)
        log.info("%s: epoch %d of %d at %d px", phase.name, state.epoch + 1, len(phase.sizes), size)
        batches = Batches(data.pixels["train"], data.labels["train"], recipe, size, number, teacher, seen)
        averaging = Average(model, average, recipe.average_decay, number * len(batches))
        # Keras does not save the state of the dropout's random numbers, so each epoch begins with one of its own.
        model.get_layer("head_dropout").seed_generator.state.assign([recipe.seed, number])
        start = time.monotonic()
        loss = train_epoch(model, batches, averaging)
        if not np.isfinite(loss):
            raise ConfigError(f"the loss of epoch {number + 1} is no number: the recipe's steps are too large")
        probabilities = predict(average, stressed, size)
        metrics = summary(probabilities[: len(labels)], labels, threshold=0.5)
        stress_auc = summary(probabilities, np.tile(labels, 2), threshold=0.5)["auc"]
        row = {"phase": phase.name, "epoch": state.epoch + 1, "size": size, "loss": loss}
        row["seconds"] = round(time.monotonic() - start, 1)
        row |= {f"validation_{name}": metrics[name] for name in ("log_loss", "auc", "sensitivity", "specificity")}
        row["stress_auc"] = stress_auc
        state.history.append(row)
        state.epoch += 1
        final_size = size == phase.sizes[-1]
        if final_size and stress_auc > state.best:
            state.best, state.stale = stress_auc, 0
            write_atomically(_best(out, phase), average.save_weights)
        elif final_size:
            state.stale += 1
        log.info(
            "  loss %.4f in %.0f s; validation: log loss %.4f, AUC %.4f (stressed %.4f), sensitivity %.3f, specificity "
            "%.3f at 0.5",
            *(row[name] for name in ("loss", "seconds")),
            *(metrics[name] for name in ("log_loss", "auc")),
            stress_auc,
            *(metrics[name] for name in ("sensitivity", "specificity")),
        )
        _checkpoint(model, average, out, state)
        plot_curves(state.history, out / "curves.png")


def _best(out: Path, phase: Phase) -> Path:
    """Weights of the best epoch of a phase. The next phase begins with them, so it must not write over them."""
    return out / f"{phase.name}.weights.h5"


def _reopen(path: Path, phase: Phase, recipe: Recipe, pictures: int) -> keras.Model:
    """A saved network with the state of its optimizer. Keras would forget what is excluded from weight decay, so the
    state goes into an optimizer that was told."""
    saved = keras.models.load_model(path)
    model = build(recipe)
    model.set_weights(saved.get_weights())
    _compile(model, phase, recipe, pictures)
    model.optimizer.build(model.trainable_variables)
    for variable, value in zip(model.optimizer.variables, saved.optimizer.variables, strict=True):
        variable.assign(value)
    return model


def _compile(model: keras.Model, phase: Phase, recipe: Recipe, pictures: int) -> None:
    set_trainable(model, phase.trainable)
    steps = -(-pictures // recipe.batch_size)
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


def predict(model: keras.Model, pixels: Pixels, size: int, batch: int = 64) -> npt.NDArray[np.float64]:
    """Probabilities `[N]` of the positive class for decoded pictures `[N, S, S]`, seen at `size` pixels."""
    rows = [
        np.asarray(model.predict_on_batch(np.stack([resize(p, size) for p in part])[..., np.newaxis]))
        for part in _parts(pixels, batch)
    ]
    return np.asarray(np.concatenate(rows)[:, -1], dtype=np.float64)


def _parts(pixels: Pixels, batch: int) -> Iterator[Pixels]:
    for start in range(0, len(pixels), batch):
        yield pixels[start : start + batch]


def _claim(out: Path, recipe: Recipe, origin: str, data: Prepared, source: str, teacher: Teacher | None) -> None:
    """Write the run's configuration and split, or hold them against those of the run that is there."""
    config = {"recipe": recipe.to_dict(), "init": origin}
    config |= {"teachers": teacher.names if teacher else []}
    config |= {"data": source, "pictures": {name: len(files) for name, files in data.files.items()}}
    wanted = json.loads(json.dumps({"config": config, "split": data.files}))
    begun = (out / "state.json").exists()
    for name, value in wanted.items():
        path = out / f"{name}.json"
        if not begun:
            write_json(path, value)
        elif json.loads(path.read_text(encoding="utf-8")) != value:
            what = "with another configuration" if name == "config" else "that learned from other pictures"
            raise RunError(f"{out} holds a run {what}: give another --out, or delete the folder")


def _read_state(out: Path) -> State:
    path = out / "state.json"
    if not path.exists():
        return State()
    state = State(**json.loads(path.read_text(encoding="utf-8")))
    log.info("going on after epoch %d", len(state.history))
    return state


def _checkpoint(model: keras.Model, average: keras.Model, out: Path, state: State) -> None:
    """New files first, then the state that names them, then the old files go: a kill at any point loses one epoch."""
    state.checkpoint = f"checkpoint-{len(state.history):03d}"
    write_atomically(out / f"{state.checkpoint}.keras", model.save)
    write_atomically(out / f"{state.checkpoint}.weights.h5", average.save_weights)
    write_json(out / "state.json", dataclasses.asdict(state))
    for path in _checkpoints(out):
        if not path.name.startswith(state.checkpoint):
            path.unlink()


def _checkpoints(out: Path) -> list[Path]:
    return list(out.glob("checkpoint-*"))


def _finish(data: Prepared, out: Path, recipe: Recipe, state: State) -> dict[str, Any]:
    """Save the best network, choose its operating point on validation, and describe what X-rays look like to it."""
    log.info("choosing the operating point on validation pictures and corrupted copies of them")
    model = build(dataclasses.replace(recipe, mixed_precision=False))  # scored, exported and served in float32 or less
    model.load_weights(_best(out, recipe.phases[-1]))
    pixels, labels = data.pixels["validation"], data.labels["validation"]
    raw = predict(model, operating.stress(pixels, recipe.seed), recipe.size)
    shift = operating.fit_shift(raw, np.tile(labels, 1 + operating.STRESS_COPIES))
    bias = model.get_layer("logits").bias
    bias.assign(bias + np.array([0, shift], np.float32))
    write_atomically(out / "model.keras", model.save)
    shifted = operating.calibrate(raw, shift=shift)
    point = operating.choose(shifted, labels)
    calibrated = operating.calibrate(shifted, point.temperature)
    count = len(labels)
    metrics = {
        "epochs": len(state.history),
        "uncalibrated": summary(raw[:count], labels, 0.5),
        "validation": summary(calibrated[:count], labels, point.threshold),
        "stress": summary(calibrated[count:], np.tile(labels, operating.STRESS_COPIES), point.threshold),
    }
    familiarity = fit_familiarity(model, data.pixels["train"], recipe.size, recipe.seed)
    write_atomically(out / "familiarity.npz", functools.partial(save_arrays, familiarity))
    write_json(out / "metrics.json", metrics)
    write_json(out / "operating_point.json", dataclasses.asdict(point) | {"input_size": recipe.size})
    return metrics


def save_arrays(arrays: Mapping[str, npt.NDArray[Any]], path: Path) -> None:
    """Write arrays by name to an `.npz` file."""
    np.savez(path, **arrays)  # type: ignore[arg-type]

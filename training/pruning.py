"""Channel pruning: remove the channels that matter least from a trained network, and fine-tune the rest.

    python -m training prune --run runs/vgg19 --data data/prepared --out runs/pruned --size 96 --gmacs 0.2

The importance of a channel is how much the loss would change without it. A first-order Taylor expansion estimates it
from the gradients of the two numbers that scale and shift its BatchNorm (Molchanov et al., "Importance Estimation for
Neural Network Pruning", 2019, arXiv:1906.10771), or of its kernel and bias where there is no BatchNorm. The result is
still VGG19: sixteen convolutions in five blocks, with fewer channels. The unpruned network teaches it, or others do.
"""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from handler.files import write_atomically
from training.augment import augment, resize
from training.backend import padded, use_all_devices
from training.distillation import Teacher, require_labels
from training.errors import ConfigError, RunError
from training.fit import fit
from training.network import BLOCKS, CONVOLUTIONS, build, load_trained
from training.prepare import Prepared
from training.progress import progress
from training.recipe import Recipe, pruned_recipe
from training.run_folder import RunFolder, RunMetrics

log = logging.getLogger(__name__)

Array = npt.NDArray[np.float64]

STEP = 8
"""Channels that are removed at a time: vector instructions work on multiples of eight."""

MINIMUM_KEEP_RATIO = 3 / 16
"""Share of its channels that each convolution keeps, whatever the estimate says: it holds for small changes only."""

_BATCHES = 48
_BATCH = 32


def prune(
    unpruned: Path,
    data: Prepared,
    out: Path,
    *,
    size: int,
    gmacs: float,
    parameters: float,
    epochs: int,
    teachers: Sequence[Path] = (),
    source: str = "",
    seed: int = 0,
    workers: int | None = None,
    **changes: Any,
) -> RunMetrics:
    """Prune the network of a run and fine-tune it; the same call again continues where it was interrupted.

    Args:
        unpruned: finished run of the network to prune.
        data: uint8 images and labels of both splits.
        out: the run folder of the pruned network.
        size: image size in pixels of the pruned network.
        gmacs: most multiply-accumulates of all convolutions for one image, in units of 1e9.
        parameters: most weights of all convolutions.
        epochs: of fine-tuning.
        teachers: finished runs, whose mean probabilities are learned; by default `unpruned` alone.
        source: the name of the data set in the run's configuration.
        workers: see `training.fit.fit`.
        changes: other numbers of the recipe.

    Raises:
        RunError: `unpruned` or a teacher is not finished, has other classes or was trained on images that validate
            here, or `out` holds another run.
        ConfigError: the budget is not positive, or the minimum keep ratio needs more.
    """
    run, target = RunFolder(unpruned), RunFolder(out)
    teacher_runs = [RunFolder(path) for path in teachers]
    use_all_devices()
    require_labels(run, data.names)
    teacher = Teacher(teacher_runs or [run], data.names)
    for known in {run, *teacher_runs}:
        _refuse_leak(known, data)
    whole, recipe = load_trained(run)
    scores = _estimated_importance(run, whole, data, recipe, seed, target)
    kept = select_channels([scores[name] for name in CONVOLUTIONS], size=size, gmacs=gmacs, parameters=parameters)
    channels = tuple(len(indices) for indices in kept)
    macs, weights = cost(channels, size)
    log.info("channels %s: %.3f G-MACs, %.2f million weights", channels, macs / 1e9, weights / 1e6)
    changes = {"dropout": recipe.dropout, **changes}
    fine_tuning = pruned_recipe(channels, size=size, epochs=epochs, batch_norm=recipe.batch_norm, seed=seed, **changes)
    if not target.started:
        pruned = build(fine_tuning, len(data.names))
        copy_pruned_weights(whole, pruned, kept)
        write_atomically(target.pruned, pruned.save)
    origin = f"{run.name} ({run.read_config().init})"
    return fit(data, out, fine_tuning, str(target.pruned), source, teacher, origin=origin, workers=workers)


def _refuse_leak(run: RunFolder, data: Prepared) -> None:
    """Images that a network was trained on cannot validate a network that learns from it."""
    if shared := set(run.read_split().train).intersection(data.files["validation"]):
        raise RunError(
            f"{run.path} was trained on {len(shared)} of the {len(data.files['validation'])} images that would "
            "validate here: give the --data that it was trained on"
        )


def _estimated_importance(
    run: RunFolder, whole: keras.Model, data: Prepared, recipe: Recipe, seed: int, target: RunFolder
) -> dict[str, Array]:
    """`importance`, estimated once and then read from the run folder of the pruned network."""
    digest = run.model_digest()
    scores = target.read_importance(digest)
    if scores is None:
        log.info("estimating the importance of each channel of %s", run.path)
        scores = importance(whole, data, recipe, seed)
        target.write_importance(scores, digest)
    return scores


def importance(model: keras.Model, data: Prepared, recipe: Recipe, seed: int) -> dict[str, Array]:
    """Importance `[C]` of the channels of each convolution, by layer name: the mean over batches of training images of
    the squared change of the loss.

    A gate behind each convolution, or behind its BatchNorm, multiplies a channel by 1. The gradient of the loss with
    respect to the gate is the sum of value times gradient of the numbers that scale and shift the channel. Gradient
    descent with rate 1 moves the gate by it, on any backend.

    Args:
        model: a network of `training.network`.
        recipe: image size and label smoothing of its training.
        seed: of the sample of images and their augmentation.
    """
    gated, gates = _gated(model)
    loss = keras.losses.CategoricalCrossentropy(label_smoothing=recipe.label_smoothing)
    gated.compile(optimizer=keras.optimizers.SGD(1.0), loss=loss)
    found: dict[str, Array] = {name: np.zeros(gate.change.shape[-1]) for name, gate in gates.items()}
    rng = np.random.default_rng(seed)
    devices, ones = use_all_devices(), np.ones(_BATCH, np.float32)
    for _ in progress(range(_BATCHES), "estimating importance", unit="batch"):
        chosen = rng.integers(0, len(data.labels["train"]), _BATCH)
        images = np.stack([resize(augment(data.pixels["train"][i], rng), recipe.size) for i in chosen])
        targets = np.eye(len(data.names), dtype=np.float32)[data.labels["train"][chosen]]
        pixels, targets, weights = padded(images[..., np.newaxis], targets, ones, devices)
        gated.train_on_batch(pixels, targets, sample_weight=weights)
        for name, gate in gates.items():
            found[name] += np.square(keras.ops.convert_to_numpy(gate.change), dtype=np.float64) / _BATCHES
            gate.change.assign(np.zeros(gate.change.shape))
    return found


class _Gate(keras.layers.Layer):  # type: ignore[misc]  # Keras has no types
    """Multiplies each channel by `1 + change`, where `change` is 0 at first."""

    def build(self, shape: tuple[int | None, ...]) -> None:
        self.change = self.add_weight(shape=(shape[-1],), initializer="zeros", name="change")

    def call(self, x: keras.KerasTensor) -> keras.KerasTensor:
        return x * (1 + self.change)


def _gated(model: keras.Model) -> tuple[keras.Model, dict[str, _Gate]]:
    """A copy of the network with gates, by name of the convolution. Nothing but the gates is trainable."""
    copied = keras.models.clone_model(model)
    copied.set_weights(model.get_weights())
    copied.trainable = False
    gates = {name: _Gate(name=f"{name}_gate") for name in CONVOLUTIONS}
    behind = {_scaled(model, name): gate for name, gate in gates.items()}
    x = copied.input
    for layer in copied.layers[1:]:
        if not isinstance(layer, keras.layers.Dropout):
            x = layer(x)
            x = behind[layer.name](x) if layer.name in behind else x
    return keras.Model(copied.input, x), gates


def _scaled(model: keras.Model, name: str) -> str:
    """The name of the layer that scales the channels of a convolution: its BatchNorm, or the convolution."""
    scaling = _scaling(model, name)
    return str(scaling.name) if scaling else name


def _scaling(model: keras.Model, name: str) -> Any:
    """The BatchNorm behind a convolution, or None."""
    return next((layer for layer in model.layers if layer.name == f"{name}_bn"), None)


def select_channels(
    scores: Sequence[Array], *, size: int, gmacs: float, parameters: float
) -> list[npt.NDArray[np.int64]]:
    """The channels to keep. `STEP` channels of one convolution are removed at a time, those that cost the least loss
    for what they save, until both budgets hold.

    Args:
        scores: importance `[C]` of the channels of each of the sixteen convolutions.
        size, gmacs, parameters: see `prune`.

    Returns:
        For each convolution the indices to keep, in ascending order.

    Raises:
        ConfigError: the budget is not positive, or the minimum keep ratio needs more.
    """
    if not (gmacs > 0 and parameters > 0):
        raise ConfigError(f"the budget must be above zero, got {gmacs} G-MACs and {parameters} weights")
    # Scaled by layer: estimates of different depths do not compare (Molchanov et al. 2017, arXiv:1611.06440, 2.2).
    scores = [score / max(float(np.linalg.norm(score)), 1e-30) for score in scores]
    orders = [np.argsort(score, kind="stable") for score in scores]
    counts = [len(score) for score in scores]
    while True:
        macs, weights = cost(counts, size)
        over = max(macs / (gmacs * 1e9), 1.0), max(weights / parameters, 1.0)
        if over == (1.0, 1.0):
            break
        best, least = -1, np.inf
        for layer, (order, count) in enumerate(zip(orders, counts, strict=True)):
            if count - STEP < MINIMUM_KEEP_RATIO * len(order):
                continue
            weakest = order[len(order) - count :][:STEP]
            fewer = [c - STEP * (i == layer) for i, c in enumerate(counts)]
            less_macs, less_weights = cost(fewer, size)
            # A budget that already holds justifies the removal of no channel.
            saved = (over[0] > 1) * (1 - less_macs / macs) + (over[1] > 1) * (1 - less_weights / weights)
            price = float(scores[layer][weakest].sum()) / saved
            if price < least:
                best, least = layer, price
        if best < 0:
            raise ConfigError(
                f"{gmacs} G-MACs and {parameters:.3g} weights are less than the minimum keep ratio needs at {size} px: "
                "allow more, or make the image smaller"
            )
        counts[best] -= STEP
    return [np.sort(order[len(order) - count :]) for order, count in zip(orders, counts, strict=True)]


def cost(channels: Sequence[int], size: int) -> tuple[int, int]:
    """Multiply-accumulates for one image of `size` x `size` pixels, and weights, of VGG19's convolutions.

    Args:
        channels: of each of the sixteen convolutions.
    """
    macs = weights = 0
    before, layer = 1, 0
    for _, count in BLOCKS:
        for _ in range(count):
            kernel = 9 * before * channels[layer]
            weights += kernel
            macs += kernel * size * size
            before = channels[layer]
            layer += 1
        size //= 2
    return macs, weights


def copy_pruned_weights(whole: keras.Model, pruned: keras.Model, kept: Sequence[npt.NDArray[np.int64]]) -> None:
    """Copy the weights of the channels that are kept.

    Args:
        kept: indices of the channels of each of the sixteen convolutions of `whole`.
    """
    before = np.arange(1)
    for name, stay in zip(CONVOLUTIONS, kept, strict=True):
        kernel, *bias = whole.get_layer(name).get_weights()
        pruned.get_layer(name).set_weights([kernel[:, :, before][..., stay], *(b[stay] for b in bias)])
        if scaling := _scaling(whole, name):
            pruned.get_layer(scaling.name).set_weights([values[stay] for values in scaling.get_weights()])
        before = stay
    kernel, bias = whole.get_layer("head_1").get_weights()
    pruned.get_layer("head_1").set_weights([kernel[before], bias])
    for name in ("head_2", "logits"):
        pruned.get_layer(name).set_weights(whole.get_layer(name).get_weights())

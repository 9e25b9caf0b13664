"""Channel pruning: remove the least important channels from a trained network, and fine-tune the rest.

    python -m training prune --run runs/vgg19 --data data/prepared --out runs/pruned --size 96 --gmacs 0.2

The importance of a channel is the change of the loss without it. A first-order Taylor expansion estimates it
from the gradients of the two numbers that scale and shift its BatchNorm (Molchanov et al., "Importance Estimation for
Neural Network Pruning", 2019, arXiv:1906.10771), or of its kernel and bias if there is no BatchNorm. The result is
a VGG19: sixteen convolutions in five blocks, with fewer channels. Its teacher is the unpruned network, or others.
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
from training.backend import jit_compile, padded, use_all_devices
from training.distillation import Teacher, require_suitable
from training.errors import ConfigError
from training.fit import fit
from training.network import BLOCKS, CONVOLUTIONS, build, load_trained
from training.prepare import Prepared
from training.progress import progress
from training.recipe import Recipe, pruned_recipe
from training.run_folder import RunFolder, RunMetrics

log = logging.getLogger(__name__)

Array = npt.NDArray[np.float64]

STEP = 8
"""Number of channels that are removed together: vector instructions work on multiples of eight."""

MINIMUM_KEEP_RATIO = 3 / 16
"""Minimum share of its channels that each convolution keeps, because the estimate holds only for small changes."""

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
    """Prune the network of a run and fine-tune it. After an interruption, the same call continues.

    Args:
        unpruned: finished run of the network to prune.
        data: uint8 images and labels of both splits.
        out: the run folder of the pruned network.
        size: image size in pixels of the pruned network.
        gmacs: maximum of multiply-accumulates of all convolutions for one image, in units of 1e9.
        parameters: maximum number of weights of all convolutions.
        epochs: epochs of fine-tuning.
        teachers: finished runs; the network learns their mean probabilities. The default is `unpruned` alone.
        source: the name of the data set in the run's configuration.
        workers: see `training.fit.fit`.
        changes: other numbers of the recipe.

    Raises:
        RunError: `unpruned` or a teacher is not finished, has other classes or was trained on validation images of
            `data`, or `out` holds another run.
        ConfigError: the budget is not positive, or the minimum keep ratio needs more.
    """
    run, target = RunFolder(unpruned), RunFolder(out)
    teacher_runs = [RunFolder(path) for path in teachers]
    require_suitable(run, data)
    teacher = Teacher(teacher_runs or [run], data)
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


def _estimated_importance(
    run: RunFolder, whole: keras.Model, data: Prepared, recipe: Recipe, seed: int, target: RunFolder
) -> dict[str, Array]:
    """Return `importance`: estimate it once, then read it from the run folder of the pruned network."""
    digest = run.model_digest()
    scores = target.read_importance(digest)
    if scores is None:
        log.info("estimating the importance of each channel of %s", run.path)
        scores = importance(whole, data, recipe, seed)
        target.write_importance(scores, digest)
    return scores


def importance(model: keras.Model, data: Prepared, recipe: Recipe, seed: int) -> dict[str, Array]:
    """Estimate the importance `[C]` of the channels of each convolution, by layer name: the mean over batches of
    training images of the squared change of the loss.

    A gate behind each convolution, or behind its BatchNorm, multiplies a channel by 1. The gradient of the loss with
    respect to the gate is the sum of value times gradient of the numbers that scale and shift the channel. One step of
    gradient descent with rate 1 changes the gate by this gradient, with any backend.

    Args:
        model: a network of `training.network`.
        recipe: image size and label smoothing of its training.
        seed: random seed of the sample of images and of their augmentation.
    """
    gated, gates = _gated(model)
    loss = keras.losses.CategoricalCrossentropy(label_smoothing=recipe.label_smoothing)
    gated.compile(optimizer=keras.optimizers.SGD(1.0), loss=loss, jit_compile=jit_compile(_BATCHES * _BATCH))
    found: dict[str, Array] = {name: np.zeros(gate.change.shape[-1]) for name, gate in gates.items()}
    rng = np.random.default_rng(seed)
    devices, ones = use_all_devices(), np.ones(_BATCH, np.float32)
    for _ in progress(range(_BATCHES), "estimating importance", unit="step"):
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
    """Copy the network and add gates; return it and the gates by convolution. Only the gates are trainable."""
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
    """Return the name of the layer that scales the channels of a convolution: its BatchNorm, or the convolution."""
    scaling = _scaling(model, name)
    return str(scaling.name) if scaling else name


def _scaling(model: keras.Model, name: str) -> Any:
    """Return the BatchNorm that follows a convolution, or None."""
    return next((layer for layer in model.layers if layer.name == f"{name}_bn"), None)


def select_channels(
    scores: Sequence[Array], *, size: int, gmacs: float, parameters: float
) -> list[npt.NDArray[np.int64]]:
    """Select the channels to keep. In each step, `STEP` channels of one convolution are removed: those with the lowest
    importance in relation to the cost that they save. It ends when the network is within both limits.

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
    # Scaled by layer: estimates of different layers are not comparable (Molchanov et al. 2017, arXiv:1611.06440, 2.2).
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
            # A limit that already holds is no reason to remove a channel.
            saved = (over[0] > 1) * (1 - less_macs / macs) + (over[1] > 1) * (1 - less_weights / weights)
            price = float(scores[layer][weakest].sum()) / saved
            if price < least:
                best, least = layer, price
        if best < 0:
            raise ConfigError(
                f"{gmacs} G-MACs and {parameters:.3g} weights are too few for the minimum keep ratio at {size} px: "
                "raise the limits, or make the image smaller"
            )
        counts[best] -= STEP
    return [np.sort(order[len(order) - count :]) for order, count in zip(orders, counts, strict=True)]


def cost(channels: Sequence[int], size: int) -> tuple[int, int]:
    """Count the multiply-accumulates for one image of `size` x `size` pixels, and the weights, of VGG19's convolutions.

    Args:
        channels: number of channels of each of the sixteen convolutions.
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
    """Copy the weights of the channels to keep.

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

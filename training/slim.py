"""Take from a trained network the channels that it needs least, and teach the rest what the whole one knew.

    python -m training slim --run runs/vgg19 --data data/prepared --out runs/slim --size 96 --gmacs 0.2

A channel matters as much as the loss would change without it, which a first-order Taylor expansion estimates from the
gradients of the two numbers that scale and shift its BatchNorm (Molchanov et al., "Importance Estimation for Neural
Network Pruning", 2019, arXiv:1906.10771), or of its kernel and bias where there is no BatchNorm. The result is still
VGG19: sixteen convolutions in five blocks, with learned widths.
"""

import functools
import hashlib
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from handler.contract import LABELS
from handler.files import write_atomically
from training.augment import augment, resize
from training.config import Recipe, slim_recipe
from training.distil import Teacher, open_run
from training.errors import ConfigError, RunError
from training.fit import fit, save_arrays
from training.network import BLOCKS, CONVOLUTIONS, build
from training.prepare import Prepared

log = logging.getLogger(__name__)

Array = npt.NDArray[np.float64]

STEP = 8
"""Channels that go at a time: vector instructions work on multiples of eight."""

LEAST = 3 / 16
"""Share of its channels that every layer keeps, whatever the estimate says: it holds for small changes only."""

_BATCHES = 48
_BATCH = 32


def slim(
    run: Path,
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
    **changes: Any,
) -> dict[str, Any]:
    """Slim the network of a run and fine-tune it; the same call again goes on where it was interrupted.

    Args:
        run: the finished run of the whole network.
        size: picture size in pixels of the slim network.
        gmacs: most multiply-accumulates of all convolutions for one picture, in units of 1e9.
        parameters: most weights of all convolutions.
        epochs: of fine-tuning.
        teachers: finished runs whose answers are averaged and learned from; none: `run` teaches alone.
        changes: other numbers of the recipe.

    Returns:
        See `training.fit.fit`.

    Raises:
        RunError: `run` or a teacher is not finished or has learned from what validates here, or `out` holds something
            else.
        ConfigError: the budget is no positive number, or less than every layer's least width needs.
    """
    teacher = Teacher(teachers or [run])
    for known in {run, *teachers}:
        _refuse_leak(known, data)
    whole, recipe = open_run(run)
    scores = _ranking(run, whole, data, recipe, seed, out)
    kept = select([scores[name] for name in CONVOLUTIONS], size=size, gmacs=gmacs, parameters=parameters)
    channels = tuple(len(indices) for indices in kept)
    spent, weights = cost(channels, size)
    log.info("channels %s: %.3f G-MACs, %.2f million weights", channels, spent / 1e9, weights / 1e6)
    slimmed = slim_recipe(
        channels,
        size=size,
        epochs=epochs,
        batch_norm=recipe.batch_norm,
        seed=seed,
        **{"dropout": recipe.dropout, **changes},
    )
    start = out / "pruned.keras"
    if not (out / "state.json").exists():
        pruned = build(slimmed)
        transplant(whole, pruned, kept)
        write_atomically(start, pruned.save)
    began = json.loads((run / "config.json").read_text(encoding="utf-8"))["init"]
    return fit(data, out, slimmed, str(start), source, teacher, origin=f"{run.name} ({began})")


def _refuse_leak(run: Path, data: Prepared) -> None:
    """What a network has learned from cannot validate what learns from the network."""
    learned = set(json.loads((run / "split.json").read_text(encoding="utf-8"))["train"])
    if shared := learned.intersection(data.files["validation"]):
        raise RunError(
            f"{run} has learned from {len(shared)} of the {len(data.files['validation'])} pictures that would validate "
            "here: give the --data that it was trained on"
        )


def _ranking(run: Path, whole: keras.Model, data: Prepared, recipe: Recipe, seed: int, out: Path) -> dict[str, Array]:
    """What each channel of a run's network is worth: estimated once, then read from `out`."""
    path = out / "importance.npz"
    digest = hashlib.sha256((run / "model.keras").read_bytes()).hexdigest()
    if path.exists():
        with np.load(path) as saved:
            scores = dict(saved)
        if str(scores.pop("network", "")) == digest:
            return scores
    log.info("estimating what each channel of %s is worth", run)
    scores = importance(whole, data, recipe, seed)
    out.mkdir(parents=True, exist_ok=True)
    write_atomically(path, functools.partial(save_arrays, {**scores, "network": np.array(digest)}))
    return scores


def importance(model: keras.Model, data: Prepared, recipe: Recipe, seed: int) -> dict[str, Array]:
    """The estimate for every channel of every convolution, by layer name: the mean over batches of training pictures of
    the squared change of the loss."""
    import tensorflow as tf

    variables = {}
    for name in CONVOLUTIONS:
        layer = _scaling(model, name)
        variables[name] = [layer.gamma.value, layer.beta.value] if layer else _kernel_and_bias(model, name)
    found: dict[str, Array] = {name: np.zeros(pair[0].shape[-1]) for name, pair in variables.items()}
    rng = np.random.default_rng(seed)
    loss = keras.losses.CategoricalCrossentropy(label_smoothing=recipe.label_smoothing)
    for _ in range(_BATCHES):
        chosen = rng.integers(0, len(data.labels["train"]), _BATCH)
        pictures = [resize(augment(data.pixels["train"][i], rng), recipe.size) for i in chosen]
        with tf.GradientTape() as tape:
            said = model(np.stack(pictures)[..., np.newaxis], training=False)
            value = loss(np.eye(len(LABELS))[data.labels["train"][chosen]], said)
        gradients = tape.gradient(value, variables)
        for name, pair in variables.items():
            change = [np.asarray(g * v, np.float64) for g, v in zip(gradients[name], pair, strict=True)]
            total = sum(c.sum(axis=tuple(range(c.ndim - 1))) for c in change)
            found[name] += np.square(total) / _BATCHES
    return found


def _scaling(model: keras.Model, name: str) -> Any:
    """The BatchNorm behind a convolution, or None."""
    try:
        return model.get_layer(f"{name}_bn")
    except ValueError:
        return None


def _kernel_and_bias(model: keras.Model, name: str) -> list[Any]:
    return [variable.value for variable in model.get_layer(name).weights]


def select(scores: Sequence[Array], *, size: int, gmacs: float, parameters: float) -> list[npt.NDArray[np.int64]]:
    """Which channels stay: again and again the `STEP` channels go whose loss costs least for what they save, until
    both budgets hold.

    Args:
        scores: importance `[C]` of the channels of each of the sixteen convolutions.
        size, gmacs, parameters: see `slim`.

    Returns:
        For each convolution the indices that stay, in ascending order.

    Raises:
        ConfigError: the budget is too small, or no positive number.
    """
    if not (gmacs > 0 and parameters > 0):
        raise ConfigError(f"the budget must be above zero, got {gmacs} G-MACs and {parameters} weights")
    # By layer, for the estimates of different depths do not compare (Molchanov et al. 2017, arXiv:1611.06440, 2.2).
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
            if count - STEP < LEAST * len(order):
                continue
            weakest = order[len(order) - count :][:STEP]
            fewer = [c - STEP * (i == layer) for i, c in enumerate(counts)]
            less_macs, less_weights = cost(fewer, size)
            # What is already within its budget is worth no channel.
            saved = (over[0] > 1) * (1 - less_macs / macs) + (over[1] > 1) * (1 - less_weights / weights)
            price = float(scores[layer][weakest].sum()) / saved
            if price < least:
                best, least = layer, price
        if best < 0:
            raise ConfigError(
                f"{gmacs} G-MACs and {parameters:.3g} weights are less than the least widths need at {size} px: "
                "allow more, or make the picture smaller"
            )
        counts[best] -= STEP
    return [np.sort(order[len(order) - count :]) for order, count in zip(orders, counts, strict=True)]


def cost(channels: Sequence[int], size: int) -> tuple[int, int]:
    """Multiply-accumulates for one picture, and weights, of VGG19's convolutions with these widths."""
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


def transplant(whole: keras.Model, slim: keras.Model, kept: Sequence[npt.NDArray[np.int64]]) -> None:
    """Copy the weights of the channels that stay."""
    before = np.arange(1)
    for name, stay in zip(CONVOLUTIONS, kept, strict=True):
        kernel, *bias = whole.get_layer(name).get_weights()
        slim.get_layer(name).set_weights([kernel[:, :, before][..., stay], *(b[stay] for b in bias)])
        if scaling := _scaling(whole, name):
            slim.get_layer(scaling.name).set_weights([values[stay] for values in scaling.get_weights()])
        before = stay
    kernel, bias = whole.get_layer("head_1").get_weights()
    slim.get_layer("head_1").set_weights([kernel[before], bias])
    for name in ("head_2", "logits"):
        slim.get_layer(name).set_weights(whole.get_layer(name).get_weights())

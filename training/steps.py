"""The optimizer of a phase, and the steps of one epoch."""

from pathlib import Path

import keras

from training.averaging import WeightAverage
from training.backend import jit_compile, padded, use_all_devices
from training.batches import Batches
from training.network import build, set_trainable
from training.progress import progress
from training.recipe import Phase, Recipe


def train_epoch(model: keras.Model, batches: Batches, averaging: WeightAverage, title: str) -> float:
    """Train on all batches once.

    `model.fit` does the same, but with TensorFlow it waits many seconds at the end of each epoch for the thread that
    tunes its input pipeline.

    Args:
        title: title of the progress bar.

    Returns:
        The mean loss per image.
    """
    devices, total, count = use_all_devices(), 0.0, 0
    shown = progress(
        batches,
        title,
        total=batches.images,
        each=lambda batch: len(batch[0]),
        note=lambda: f"loss {total / count:.4f}" if count else "",
    )
    for pixels, targets, weights in shown:
        size = len(targets)
        pixels, targets, weights = padded(pixels, targets, weights, devices)
        loss = model.train_on_batch(pixels, targets, sample_weight=weights, return_dict=True)["loss"]
        averaging.after_step()
        total, count = total + float(loss) * size, count + size
    averaging.after_epoch()
    return total / count


def reopen(path: Path, phase: Phase, recipe: Recipe, classes: int, images: int) -> keras.Model:
    """Load a network with the state of its optimizer. Keras does not save which variables are excluded from weight
    decay, so the state is copied into an optimizer that `prepare_phase` has made."""
    saved = keras.models.load_model(path)
    model = build(recipe, classes)
    model.set_weights(saved.get_weights())
    prepare_phase(model, phase, recipe, images)
    for variable, value in zip(model.optimizer.variables, saved.optimizer.variables, strict=True):
        variable.assign(value)
    return model


def prepare_phase(model: keras.Model, phase: Phase, recipe: Recipe, images: int) -> None:
    """Freeze the layers that a phase does not train, and set optimizer, learning-rate schedule and loss.

    Args:
        images: number of training images.
    """
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
    xla = jit_compile(images * len(phase.sizes))
    model.compile(optimizer=optimizer, loss=loss, weighted_metrics=[], jit_compile=xla)
    # TensorFlow traces the first step twice if that step makes the variables of the optimizer.
    model.optimizer.build(model.trainable_variables)

"""Exponential moving average of a network's weights."""

import keras

_UPDATE_EVERY = 4
"""Steps between two updates. Each update reads and writes 80 MB of weights."""


class WeightAverage:
    """Keeps an exponential moving average of all weights, BatchNorm statistics included, in a second network.

    Args:
        model: the network that is trained.
        average: a network of the same architecture, which holds the average.
        decay: decay per step, 0..1; 0 copies the weights after each epoch instead.
        step: number of steps before this object was created.
    """

    def __init__(self, model: keras.Model, average: keras.Model, decay: float, step: int) -> None:
        self._model, self._average, self._decay, self._step = model, average, decay, step

    def after_step(self) -> None:
        """Update the average; call this after each training step."""
        self._step += 1
        if self._decay > 0 and self._step % _UPDATE_EVERY == 0:
            # The decay is small at first, so that the random initial weights have little influence.
            decay = min(self._decay, self._step / (10 + self._step)) ** _UPDATE_EVERY
            self._update(decay)

    def after_epoch(self) -> None:
        """Copy the weights if `decay` is 0; call this after each epoch."""
        if self._decay == 0:
            self._update(0.0)

    def _update(self, decay: float) -> None:
        for mean, weight in zip(self._average.weights, self._model.weights, strict=True):
            mean.assign(decay * mean + (1 - decay) * keras.ops.cast(weight, mean.dtype))

"""Recipes: flat, validated, saved with every run.

A recipe is a sequence of phases. A phase is one optimizer and one learning-rate schedule over a fixed set of trainable
layers; it lists the picture size of each of its epochs, which is how progressive resizing is written down.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal, Self

from handler.contract import LEAST_INPUT_SIZE
from training.errors import ConfigError

Trainable = Literal["head", "upper", "all"]

_CONVOLUTIONS = 16  # nineteen layers with weights less three dense ones


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """One stretch of training."""

    name: str
    trainable: Trainable
    """`head`: the dense layers; `upper`: those and the last two blocks; `all`."""
    sizes: tuple[int, ...]
    """Picture size in pixels, one entry per epoch."""
    learning_rate: float
    """Peak; a linear warm-up leads to it and a cosine leads from it towards zero."""
    schedule_epochs: int | None = None
    """Epochs after which the cosine would reach zero, if not at the end of the phase: averaging the weights does the
    same as a vanishing rate."""
    warmup_epochs: float = 1.0
    patience: int = 8
    """Epochs at the final size without a better AUC on the stressed validation pictures after which the phase ends."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Every choice that makes one network differ from another."""

    phases: tuple[Phase, ...]
    batch_norm: bool
    """BatchNorm after each convolution; export folds it away."""
    width: float = 1.0
    """Share of VGG19's channels in every convolution."""
    channels: tuple[int, ...] = ()
    """Channels of each of the sixteen convolutions, learned by `training.slim`; none: those of VGG19 times `width`."""
    dropout: float = 0.5
    batch_size: int = 32
    weight_decay: float = 0.0
    """Decoupled (AdamW), on kernels only."""
    label_smoothing: float = 0.0
    distillation: float = 0.0
    """Share of the teacher's probabilities in what the network is trained towards; the labels have the rest."""
    mixing: float = 0.0
    """Share of varied pictures that another one shines through (mixup, Zhang et al. 2018, arXiv:1710.09412). On them a
    teacher says more than on pictures whose labels it has learned (Beyer et al. 2022, arXiv:2106.05237)."""
    views: int = 0
    """How many varied versions of a picture there are: later epochs show them again from memory, and whoever teaches
    need not be asked again. 0: new ones in every epoch."""
    average_decay: float = 0.0
    """Per step, of the exponential moving average of all weights that is validated and saved; 0 keeps the raw ones.
    Raw weights swing by many points of accuracy between epochs at a fixed threshold, their average does not."""
    augmentation: float = 1.0
    """Strength; 0 turns augmentation off, 1 is the range in `training.augment`."""
    untouched: float = 0.2
    """Share of training pictures of which only the framing is varied. Those that are served are not varied either, and
    a network that has seen none of their kind leans to one side on them."""
    mixed_precision: bool = False
    """bfloat16 arithmetic on float32 weights: twice the pace on CPUs that have it."""
    seed: int = 0

    def __post_init__(self) -> None:
        _require(len(self.phases) > 0, "a recipe needs at least one phase")
        _require(0 < self.width <= 1, f"width must lie in (0, 1], got {self.width}")
        _require(not self.channels or self.width == 1, "learned channels cannot be scaled by a width: leave it at 1")
        _require(
            len(self.channels) in (0, _CONVOLUTIONS) and min(self.channels, default=1) > 0,
            f"channels must be {_CONVOLUTIONS} positive numbers or none, got {self.channels}",
        )
        _require(0 <= self.distillation <= 1, f"distillation must lie in [0, 1], got {self.distillation}")
        _require(0 <= self.dropout < 1, f"dropout must lie in [0, 1), got {self.dropout}")
        _require(0 <= self.augmentation <= 2, f"augmentation must lie in [0, 2], got {self.augmentation}")
        _require(self.batch_size > 0, f"batch_size must be positive, got {self.batch_size}")
        _require(0 <= self.weight_decay < 1, f"weight_decay must lie in [0, 1), got {self.weight_decay}")
        _require(0 <= self.label_smoothing < 0.5, f"label_smoothing must lie in [0, 0.5), got {self.label_smoothing}")
        _require(0 <= self.mixing <= 1, f"mixing must lie in [0, 1], got {self.mixing}")
        _require(self.views >= 0, f"views must not be negative, got {self.views}")
        _require(0 <= self.untouched <= 1, f"untouched must lie in [0, 1], got {self.untouched}")
        _require(0 <= self.average_decay < 1, f"average_decay must lie in [0, 1), got {self.average_decay}")
        for phase in self.phases:
            _require(len(phase.sizes) > 0, f"phase {phase.name!r} has no epochs")
            _require(
                min(phase.sizes) >= LEAST_INPUT_SIZE,
                f"phase {phase.name!r}: VGG19 halves five times, sizes start at {LEAST_INPUT_SIZE} px",
            )
            _require(phase.learning_rate > 0, f"phase {phase.name!r}: learning_rate must be positive")
        _require(
            len({phase.sizes[-1] for phase in self.phases}) == 1,
            "all phases must end at one picture size: it is the size that the network is served at",
        )

    @property
    def size(self) -> int:
        """Picture size in pixels that the network is validated, exported and served at."""
        return self.phases[-1].sizes[-1]

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Raises `ConfigError` on unknown keys."""
        try:
            phases = tuple(Phase(**{**phase, "sizes": tuple(phase["sizes"])}) for phase in values["phases"])
            return cls(**{**values, "phases": phases, "channels": tuple(values.get("channels", ()))})
        except (KeyError, TypeError) as exc:
            raise ConfigError(f"not a recipe: {exc}") from exc


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ConfigError(message)


def seed_recipe(**changes: Any) -> Recipe:
    """Transfer from ImageNet, as the seed of this project did it: a new head on a frozen base, then upper blocks."""
    values: dict[str, Any] = {
        "phases": (
            Phase(name="frozen", trainable="head", sizes=(128,) * 15, learning_rate=1e-4, patience=4),
            Phase(name="fine-tuning", trainable="upper", sizes=(128,) * 15, learning_rate=1e-5, patience=4),
        ),
        "batch_norm": False,
        "label_smoothing": 0.05,
    }
    return Recipe(**{**values, **changes})


def scratch_recipe(**changes: Any) -> Recipe:
    """Random start on X-rays alone. Small pictures first: the coarse shape of a chest is learned at a fraction of
    the cost."""
    values: dict[str, Any] = {
        "phases": (
            Phase(
                name="progressive",
                trainable="all",
                sizes=(48,) * 10 + (64,) * 10,
                schedule_epochs=25,
                learning_rate=1e-3,
                warmup_epochs=2,
            ),
        ),
        "batch_norm": True,
        "weight_decay": 0.05,
        "label_smoothing": 0.05,
        "average_decay": 0.995,
    }
    return Recipe(**{**values, **changes})


def transfer_recipe(**changes: Any) -> Recipe:
    """A start with weights that have seen other pictures. With BatchNorm put in, all layers can learn on at once."""
    phase = Phase(name="transfer", trainable="all", sizes=(64,) * 10, learning_rate=3e-4, warmup_epochs=0.5)
    values: dict[str, Any] = {
        "phases": (phase,),
        "batch_norm": True,
        "weight_decay": 0.05,
        "label_smoothing": 0.05,
        "average_decay": 0.995,
    }
    return Recipe(**{**values, **changes})


def slim_recipe(channels: tuple[int, ...], *, size: int, epochs: int, batch_norm: bool, **changes: Any) -> Recipe:
    """Fine-tuning of what `training.slim` left of a network, taught by the whole one."""
    phase = Phase(
        name="distillation",
        trainable="all",
        sizes=(size,) * epochs,
        # Without BatchNorm a step that large would undo what was learned.
        learning_rate=1e-3 if batch_norm else 1e-4,
        patience=epochs,
    )
    values: dict[str, Any] = {
        "phases": (phase,),
        "batch_norm": batch_norm,
        "channels": channels,
        "distillation": 0.6,
        "weight_decay": 0.05,
        "label_smoothing": 0.05,
        "average_decay": 0.998,
    }
    return Recipe(**{**values, **changes})


RECIPES = {"seed": seed_recipe, "scratch": scratch_recipe, "transfer": transfer_recipe}

NUMBERS = {
    field.name: field.type
    for field in dataclasses.fields(Recipe)
    if field.type in (int, float) and field.name != "seed"
}
"""Type of each number of a recipe that `--set` changes."""

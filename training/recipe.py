"""Recipes: the settings of a training run, as flat values that are validated and saved with every run.

A recipe is a sequence of phases. A phase has one optimizer and one learning-rate schedule over a fixed set of trainable
layers. It lists the image size of each of its epochs: progressive resizing is a list of growing sizes.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal, Self

from handler.contract import LEAST_INPUT_SIZE
from training.errors import ConfigError

Trainable = Literal["head", "upper", "all"]

_CONVOLUTIONS = 16  # nineteen layers with weights, without the three dense ones


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """A phase of training."""

    name: str
    trainable: Trainable
    """`head`: the dense layers; `upper`: those and the last two blocks; `all`."""
    sizes: tuple[int, ...]
    """Image size in pixels, one entry per epoch."""
    learning_rate: float
    """The maximum. A linear warm-up precedes it, a cosine decay towards zero follows it."""
    schedule_epochs: int | None = None
    """Number of epochs after which the cosine reaches zero; None: at the end of the phase. With averaged weights the
    rate need not reach zero: averaging has the same effect."""
    warmup_epochs: float = 1.0
    patience: int = 8
    """The phase ends after this many epochs at the final size without a better AUC on the corrupted validation set."""

    def with_sizes(self, sizes: tuple[int, ...]) -> Self:
        """Return the phase with other epochs. A shorter schedule is extended to the end of the phase."""
        planned = self.schedule_epochs
        schedule = planned if planned and planned > len(sizes) else None
        return dataclasses.replace(self, sizes=sizes, schedule_epochs=schedule)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """All settings of one training run.

    Raises:
        ConfigError: a value is out of range.
    """

    phases: tuple[Phase, ...]
    batch_norm: bool
    """BatchNorm after each convolution; export folds it into the convolution."""
    width: float = 1.0
    """Share of VGG19's channels in every convolution, in (0, 1]."""
    channels: tuple[int, ...] = ()
    """Channels of each of the sixteen convolutions, given or selected by `training.pruning`; empty: those of VGG19
    times `width`."""
    dropout: float = 0.5
    batch_size: int = 32
    weight_decay: float = 0.0
    """Decoupled weight decay (AdamW), on kernels only."""
    label_smoothing: float = 0.0
    distillation: float = 0.0
    """Weight of the teacher's probabilities in the training targets, 0..1; the labels have the remaining weight."""
    mixup: float = 0.0
    """Probability that an augmented image is blended with a second one, its mixup partner (Zhang et al. 2018,
    arXiv:1710.09412). A teacher's probabilities contain more information on blended images than on its training images
    (Beyer et al. 2022, arXiv:2106.05237)."""
    cached_augmentations: int = 0
    """Number of augmented versions of each image. Later epochs read them, with their targets, from the run folder. 0:
    every epoch makes new ones."""
    average_decay: float = 0.0
    """Decay per step of the exponential moving average of all weights. The average is validated and saved; 0 keeps the
    raw weights. At a fixed threshold, the accuracy of the raw weights changes by many percentage points between epochs,
    and that of the average does not."""
    augmentation: float = 1.0
    """Strength, 0..2; 0 turns augmentation off, 1 is the range in `training.augment`."""
    untouched: float = 0.2
    """Share of training images that are only reframed, with no other augmentation. Served images are not augmented, and
    a network that was trained only on augmented images is biased on them."""
    mixed_precision: bool = False
    """bfloat16 arithmetic on float32 weights: twice as fast on CPUs with bfloat16 instructions."""
    seed: int = 0

    def __post_init__(self) -> None:
        _require(len(self.phases) > 0, "a recipe needs at least one phase")
        _require(0 < self.width <= 1, f"width must lie in (0, 1], got {self.width}")
        _require(not self.channels or self.width == 1, "give channels or a width, not both: leave width at 1")
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
        _require(0 <= self.mixup <= 1, f"mixup must lie in [0, 1], got {self.mixup}")
        _require(
            self.cached_augmentations >= 0,
            f"cached_augmentations must not be negative, got {self.cached_augmentations}",
        )
        _require(0 <= self.untouched <= 1, f"untouched must lie in [0, 1], got {self.untouched}")
        _require(0 <= self.average_decay < 1, f"average_decay must lie in [0, 1), got {self.average_decay}")
        for phase in self.phases:
            _require(len(phase.sizes) > 0, f"phase {phase.name!r} has no epochs")
            _require(
                min(phase.sizes) >= LEAST_INPUT_SIZE,
                f"phase {phase.name!r}: VGG19 halves the size five times, use at least {LEAST_INPUT_SIZE} px",
            )
            _require(phase.learning_rate > 0, f"phase {phase.name!r}: learning_rate must be positive")
        _require(
            len({phase.sizes[-1] for phase in self.phases}) == 1,
            "all phases must end at the same image size, because the network is served at this size",
        )

    @property
    def size(self) -> int:
        """Image size in pixels at which the network is validated, exported and served."""
        return self.phases[-1].sizes[-1]

    def to_dict(self) -> dict[str, Any]:
        """Return all fields, with the phases as dictionaries, for JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Make a recipe from the result of `to_dict`, or from its JSON.

        Raises:
            ConfigError: a key is unknown or missing, or a value is out of range.
        """
        try:
            phases = tuple(Phase(**{**phase, "sizes": tuple(phase["sizes"])}) for phase in values["phases"])
            return cls(**{**values, "phases": phases, "channels": tuple(values.get("channels", ()))})
        except (KeyError, TypeError) as exc:
            raise ConfigError(f"not a recipe: {exc}") from exc


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ConfigError(message)


def baseline_recipe(**changes: Any) -> Recipe:
    """Transfer learning from ImageNet in two phases: a new head on a frozen base, then the upper blocks too."""
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
    """Training from random weights. Small images come first: the network learns the coarse shape of a chest from them
    at a fraction of the cost."""
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
    """Training from weights that were trained on other images. BatchNorm is added, so all layers train together."""
    phase = Phase(name="transfer", trainable="all", sizes=(64,) * 10, learning_rate=3e-4, warmup_epochs=0.5)
    values: dict[str, Any] = {
        "phases": (phase,),
        "batch_norm": True,
        "weight_decay": 0.05,
        "label_smoothing": 0.05,
        "average_decay": 0.995,
    }
    return Recipe(**{**values, **changes})


def pruned_recipe(channels: tuple[int, ...], *, size: int, epochs: int, batch_norm: bool, **changes: Any) -> Recipe:
    """Fine-tuning of a network that `training.pruning` has pruned, with knowledge distillation.

    Args:
        channels: number of channels of each of the sixteen convolutions.
        size: image size in pixels.
        batch_norm: whether the unpruned network has BatchNorm.
        changes: other fields of `Recipe`.
    """
    phase = Phase(
        name="distillation",
        trainable="all",
        sizes=(size,) * epochs,
        # Without BatchNorm, such a large step would destroy what the network has learned.
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


def student_recipe(**changes: Any) -> Recipe:
    """Training of a small network from random weights, with knowledge distillation: new augmentations and mixup in many
    epochs (Beyer et al. 2022, arXiv:2106.05237). Label smoothing is off, because the teachers' probabilities are smooth
    already."""
    epochs = 252
    phase = Phase(
        name="distillation",
        trainable="all",
        sizes=(80,) * epochs,
        learning_rate=2e-3,
        warmup_epochs=5,
        patience=epochs,
    )
    values: dict[str, Any] = {
        "phases": (phase,),
        "batch_norm": True,
        "batch_size": 128,
        "distillation": 0.9,
        "mixup": 0.3,
        "weight_decay": 0.05,
        "average_decay": 0.998,
    }
    return Recipe(**{**values, **changes})


RECIPES = {
    "baseline": baseline_recipe,
    "scratch": scratch_recipe,
    "student": student_recipe,
    "transfer": transfer_recipe,
}

NUMBERS = {
    field.name: field.type
    for field in dataclasses.fields(Recipe)
    if field.type in (int, float) and field.name != "seed"
}
"""Type of each number of a recipe that `--set` may change."""

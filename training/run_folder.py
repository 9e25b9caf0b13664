"""The files of a run folder. Only this module uses their names and fields.

| file | content | written |
| --- | --- | --- |
| `config.json`, `split.json` | `RunConfig`, `RunSplit` | at the start |
| `data/` | see `training.prepare` | at the start, unless `--data` is prepared |
| `importance.npz` | see `training.pruning` | at the start of `prune` |
| `pruned.keras` | see `training.pruning` | at the start of `prune`, deleted at the end |
| `state.json` | `RunState` | after each epoch |
| `checkpoint-N.keras`, `checkpoint-N.weights.h5` | see `save_checkpoint` | after each epoch, deleted at the end |
| `PHASE.weights.h5` | weights | after each epoch that is the best of its phase, deleted at the end |
| `augmentations/` | see `training.kept`; only with `cached_augmentations` | in the first epochs, deleted at the end |
| `history.csv` | the training history | after each epoch |
| `curves.png` | its plot | every half minute, and at the end of a phase |
| `train.log` | log messages | during the run |
| `model.keras` | the network | at the end |
| `ood.npz`, `metrics.json` | `OodStatistics`, `RunMetrics` | after `model.keras` |
| `operating_point.json` | `OperatingPoint` | last |

Importing this module does not import Keras.
"""

import dataclasses
import hashlib
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from handler.files import write_atomically, write_json
from training.errors import RunError
from training.ood_statistics import OodStatistics
from training.operating_point import OperatingPoint
from training.recipe import Recipe
from training.run_files import read_arrays, read_json, translated, write_arrays, write_table

if TYPE_CHECKING:
    import keras

_CONFIG = "config.json"
_SPLIT = "split.json"
_STATE = "state.json"
_METRICS = "metrics.json"
_OPERATING_POINT = "operating_point.json"
_OOD = "ood.npz"
_IMPORTANCE = "importance.npz"
_CHECKPOINT = "checkpoint-"

NO_AUC = -1.0  # lower than every AUC: before the first epoch of a phase
_ANOTHER_FOLDER = "give another --out, or delete the folder"


@dataclasses.dataclass(frozen=True, slots=True)
class RunConfig:
    """The configuration of a run."""

    recipe: Recipe
    init: str
    """Name of the initial weights, see `training.transfer.initialise`. For a pruned network: the run that it was pruned
    from, followed by that run's own `init` in parentheses."""
    teachers: tuple[str, ...]
    """Names of the runs whose networks were teachers; empty without distillation."""
    data: str
    """Name of the data set."""
    images: Mapping[str, int]
    """Number of images by split."""
    labels: tuple[str, ...]
    """Class names in the order of the network's outputs. Of two the second is the positive one."""


@dataclasses.dataclass(frozen=True, slots=True)
class RunSplit:
    """The images of a run, as SPLIT/CLASS/FILE relative to the data set."""

    train: tuple[str, ...]
    validation: tuple[str, ...]


@dataclasses.dataclass(slots=True)
class RunState:
    """The progress of a run. This and the checkpoint are enough to continue it."""

    phase: int = 0
    """Index of the phase."""
    epoch: int = 0
    """Index within the phase of the next epoch to train."""
    best: float = NO_AUC
    """Highest AUC of the phase until now on the corrupted validation set. Log loss would also depend on the class
    balance, which the operating point corrects afterwards."""
    stale: int = 0
    """Number of epochs since the best one."""
    checkpoint: str = ""
    """Stem of the checkpoint's files; empty before the first epoch ends."""
    history: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    """One row for each epoch: `phase`, `epoch` (from 1), `size`, `loss`, `seconds`, `validation_log_loss`,
    `validation_auc`, `validation_balanced_accuracy`, `corrupted_auc`."""


@dataclasses.dataclass(frozen=True, slots=True)
class RunMetrics:
    """Results of a finished run. Each mapping is a `training.metrics.summary`."""

    epochs: int
    """Number of trained epochs."""
    uncalibrated: Mapping[str, float]
    """On validation images before calibration, at a threshold of one half."""
    validation: Mapping[str, float]
    """On validation images at the operating point."""
    corrupted: Mapping[str, float]
    """On corrupted copies of the validation images at the operating point."""
    intervals: Mapping[str, tuple[float, float]]
    """95 % interval of each number of `validation`, by patient."""
    counts: Mapping[str, int]
    """Number of validation images by class."""
    patients: int
    """Number of patients of the validation images."""
    useless: str = ""
    """Why the network is no better than chance; empty if it is better."""


@dataclasses.dataclass(frozen=True, slots=True)
class RunFolder:
    """Paths, readers and writers of one run folder. A reader raises `RunError` if its file is absent, or was not
    written by this release. Each writer replaces its file atomically."""

    path: Path

    @property
    def name(self) -> str:
        """Name of the run."""
        return self.path.name

    @property
    def model(self) -> Path:
        """The finished network."""
        return self.path / "model.keras"

    @property
    def pruned(self) -> Path:
        """The pruned network before its fine-tuning."""
        return self.path / "pruned.keras"

    @property
    def curves(self) -> Path:
        """Plot of the training history, PNG."""
        return self.path / "curves.png"

    @property
    def kept(self) -> Path:
        """Folder of the augmented images that later epochs read again, see `training.kept`."""
        return self.path / "augmentations"

    @property
    def log(self) -> Path:
        """Log messages of `fit`, text."""
        return self.path / "train.log"

    @property
    def history(self) -> Path:
        """The training history, CSV."""
        return self.path / "history.csv"

    @property
    def data(self) -> Path:
        """Folder of the prepared data set, if the run prepared it."""
        return self.path / "data"

    def best_weights(self, phase: str) -> Path:
        """Weights of the best epoch of a phase. The next phase starts from them, so each phase has its own file."""
        return self.path / f"{phase}.weights.h5"

    def finished_model(self) -> Path:
        """`model`, if it exists.

        Raises:
            RunError: it does not exist.
        """
        if not self.model.is_file():
            raise RunError(f"{self.model} is missing: run the same fit command again, it finishes the run")
        return self.model

    def model_digest(self) -> str:
        """Hexadecimal SHA-256 of `model`."""
        return hashlib.sha256(self.finished_model().read_bytes()).hexdigest()

    @property
    def started(self) -> bool:
        """Whether at least one epoch is saved."""
        return (self.path / _STATE).exists()

    @property
    def has_operating_point(self) -> bool:
        """Whether the run is finished: this file is written last."""
        return (self.path / _OPERATING_POINT).is_file()

    def claim(self, config: RunConfig, split: RunSplit) -> None:
        """Write configuration and split, and delete augmented images of an attempt that finished no epoch. If the run
        has started, compare them with the saved ones instead.

        Raises:
            RunError: the folder holds a run with another configuration or with other images.
        """
        if not self.started:
            if self.kept.exists():
                shutil.rmtree(self.kept)  # perhaps of another recipe
            write_json(self.path / _CONFIG, dataclasses.asdict(config))
            write_json(self.path / _SPLIT, dataclasses.asdict(split))
        elif self.read_config() != config:
            raise RunError(f"{self.path} holds a run with another configuration: {_ANOTHER_FOLDER}")
        elif self.read_split() != split:
            raise RunError(f"{self.path} holds a run that was trained on other images: {_ANOTHER_FOLDER}")

    def read_config(self) -> RunConfig:
        return read_json(self.path / _CONFIG, _config_from)

    def read_split(self) -> RunSplit:
        return read_json(self.path / _SPLIT, lambda values: RunSplit(**{name: tuple(values[name]) for name in values}))

    def read_state(self) -> RunState:
        return read_json(self.path / _STATE, lambda values: RunState(**values))

    def write_state(self, state: RunState) -> None:
        write_json(self.path / _STATE, dataclasses.asdict(state))
        write_table(self.history, state.history)

    def read_metrics(self) -> RunMetrics:
        return read_json(self.path / _METRICS, _metrics_from)

    def write_metrics(self, metrics: RunMetrics) -> None:
        write_json(self.path / _METRICS, dataclasses.asdict(metrics))

    def read_operating_point(self) -> OperatingPoint:
        path = self.path / _OPERATING_POINT
        return read_json(path, lambda v: OperatingPoint(**{**v, "set_thresholds": tuple(v["set_thresholds"])}))

    def write_operating_point(self, point: OperatingPoint) -> None:
        write_json(self.path / _OPERATING_POINT, dataclasses.asdict(point))

    def read_ood(self) -> OodStatistics:
        path = self.path / _OOD
        return translated(path, lambda: OodStatistics(**read_arrays(path)))

    def write_ood(self, statistics: OodStatistics) -> None:
        fields = dataclasses.fields(OodStatistics)
        write_arrays(self.path / _OOD, {field.name: getattr(statistics, field.name) for field in fields})

    def read_importance(self, digest: str) -> dict[str, npt.NDArray[np.float64]] | None:
        """Importance `[C]` of the channels of each convolution, by layer name; None if it was estimated for a
        network with another digest, or never."""
        path = self.path / _IMPORTANCE
        if not path.exists():
            return None
        arrays = translated(path, lambda: read_arrays(path))
        return arrays if str(arrays.pop("network", "")) == digest else None

    def write_importance(self, scores: Mapping[str, npt.NDArray[np.float64]], digest: str) -> None:
        write_arrays(self.path / _IMPORTANCE, {**scores, "network": np.array(digest)})

    def checkpoint_files(self, state: RunState) -> tuple[Path, Path]:
        """Return the files of the state's checkpoint: the network with its optimizer, and the averaged weights."""
        return self.path / f"{state.checkpoint}.keras", self.path / f"{state.checkpoint}.weights.h5"

    def save_checkpoint(self, state: RunState, model: "keras.Model", average: "keras.Model") -> None:
        """Write a checkpoint, then the state that names it, then delete older checkpoints. If the process is
        killed at any point, at most one epoch is lost."""
        state.checkpoint = f"{_CHECKPOINT}{len(state.history):03d}"
        whole, averaged = self.checkpoint_files(state)
        write_atomically(whole, model.save)
        write_atomically(averaged, average.save_weights)
        self.write_state(state)
        self._delete([f"{_CHECKPOINT}*"], keep=(whole, averaged))

    def delete_intermediate(self) -> None:
        """Delete the files that a finished run does not need: checkpoints, the best weights of each phase, the pruned
        network before its fine-tuning, and augmented images."""
        shutil.rmtree(self.kept, ignore_errors=True)
        self._delete([f"{_CHECKPOINT}*", "*.weights.h5", self.pruned.name])

    def _delete(self, patterns: Sequence[str], keep: Sequence[Path] = ()) -> None:
        for path in {path for pattern in patterns for path in self.path.glob(pattern)}.difference(keep):
            path.unlink()


def _config_from(values: Mapping[str, Any]) -> RunConfig:
    recipe, teachers = Recipe.from_dict(values["recipe"]), tuple(values["teachers"])
    return RunConfig(**{**values, "recipe": recipe, "teachers": teachers, "labels": tuple(values["labels"])})


def _metrics_from(values: Mapping[str, Any]) -> RunMetrics:
    intervals = {name: (low, high) for name, (low, high) in values["intervals"].items()}
    return RunMetrics(**{**values, "intervals": intervals})

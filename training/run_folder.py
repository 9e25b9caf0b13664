"""The files of a run folder. Only this module uses their names and fields.

| file | content | written |
| --- | --- | --- |
| `config.json`, `split.json` | `RunConfig`, `RunSplit` | at the start |
| `data/` | see `training.prepare` | at the start, unless `--data` is prepared |
| `importance.npz`, `pruned.keras` | see `training.pruning` | at the start of `prune` |
| `state.json` | `RunState` | after each epoch |
| `checkpoint-N.keras`, `checkpoint-N.weights.h5` | see `save_checkpoint` | after each epoch, deleted at the end |
| `PHASE.weights.h5` | weights | after each epoch that is the best of its phase |
| `curves.png` | plot | after each epoch |
| `model.keras` | the network | at the end |
| `ood.npz`, `metrics.json` | `OodStatistics`, `RunMetrics` | after it |
| `operating_point.json` | `OperatingPoint` | last |

Importing this module does not import Keras.
"""

import dataclasses
import functools
import hashlib
import json
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt

from handler.files import write_atomically, write_json
from training.errors import ConfigError, RunError
from training.operating_point import OperatingPoint
from training.recipe import Recipe

if TYPE_CHECKING:
    import keras

T = TypeVar("T")
Array = npt.NDArray[np.float32]

_CONFIG = "config.json"
_SPLIT = "split.json"
_STATE = "state.json"
_METRICS = "metrics.json"
_OPERATING_POINT = "operating_point.json"
_OOD = "ood.npz"
_IMPORTANCE = "importance.npz"
_CHECKPOINT = "checkpoint-"

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
    best: float = 0.0
    """Greatest AUC of the phase so far on the corrupted validation set. Log loss would also depend on the class
    balance, which the operating point corrects afterwards."""
    stale: int = 0
    """Number of epochs since the best one."""
    checkpoint: str = ""
    """Stem of the checkpoint's files; empty before the first epoch ends."""
    history: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    """One row for each epoch: `phase`, `epoch` (from 1), `size`, `loss`, `seconds`, `validation_log_loss`,
    `validation_auc`, `validation_sensitivity`, `validation_specificity`, `corrupted_auc`."""


@dataclasses.dataclass(frozen=True, slots=True)
class RunMetrics:
    """Results of a finished run. Each mapping is a `training.metrics.summary`."""

    epochs: int
    """Number of epochs that were trained."""
    uncalibrated: Mapping[str, float]
    """On validation images before calibration, at a threshold of one half."""
    validation: Mapping[str, float]
    """On validation images at the operating point."""
    corrupted: Mapping[str, float]
    """On corrupted copies of the validation images at the operating point."""


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class OodStatistics:
    """A Gaussian over `D` pooled features of X-rays, see `training.ood`. All arrays are float32."""

    mean: Array
    """`[D]`"""
    scale: Array
    """`[D]`, factors of the centred features."""
    components: Array
    """`[D, K]`, orthonormal columns."""
    gains: Array
    """`[K]`, at most 0: the precision along each component, minus `1 / noise`."""
    noise: Array
    """`[]`, the variance in all other directions."""


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
    def data(self) -> Path:
        """Folder of the prepared data set, if the run has prepared it."""
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
            raise RunError(f"{self.model} is missing: run the fit command again, it finishes the run")
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
        """Write configuration and split. If the run has started, compare them with the written ones instead.

        Raises:
            RunError: the folder holds a run with another configuration or with other images.
        """
        if not self.started:
            write_json(self.path / _CONFIG, dataclasses.asdict(config))
            write_json(self.path / _SPLIT, dataclasses.asdict(split))
        elif self.read_config() != config:
            raise RunError(f"{self.path} holds a run with another configuration: {_ANOTHER_FOLDER}")
        elif self.read_split() != split:
            raise RunError(f"{self.path} holds a run that was trained on other images: {_ANOTHER_FOLDER}")

    def read_config(self) -> RunConfig:
        return _read(self.path / _CONFIG, _config_from)

    def read_split(self) -> RunSplit:
        return _read(self.path / _SPLIT, lambda values: RunSplit(**{name: tuple(values[name]) for name in values}))

    def read_state(self) -> RunState:
        return _read(self.path / _STATE, lambda values: RunState(**values))

    def write_state(self, state: RunState) -> None:
        write_json(self.path / _STATE, dataclasses.asdict(state))

    def read_metrics(self) -> RunMetrics:
        return _read(self.path / _METRICS, lambda values: RunMetrics(**values))

    def write_metrics(self, metrics: RunMetrics) -> None:
        write_json(self.path / _METRICS, dataclasses.asdict(metrics))

    def read_operating_point(self) -> OperatingPoint:
        return _read(self.path / _OPERATING_POINT, lambda values: OperatingPoint(**values))

    def write_operating_point(self, point: OperatingPoint) -> None:
        write_json(self.path / _OPERATING_POINT, dataclasses.asdict(point))

    def read_ood(self) -> OodStatistics:
        path = self.path / _OOD
        return _translated(path, lambda: OodStatistics(**_read_arrays(path)))

    def write_ood(self, statistics: OodStatistics) -> None:
        fields = dataclasses.fields(OodStatistics)
        _write_arrays(self.path / _OOD, {field.name: getattr(statistics, field.name) for field in fields})

    def read_importance(self, digest: str) -> dict[str, npt.NDArray[np.float64]] | None:
        """Importance `[C]` of the channels of each convolution, by layer name; None if it was estimated for a
        network with another digest, or never."""
        path = self.path / _IMPORTANCE
        if not path.exists():
            return None
        arrays = _translated(path, lambda: _read_arrays(path))
        return arrays if str(arrays.pop("network", "")) == digest else None

    def write_importance(self, scores: Mapping[str, npt.NDArray[np.float64]], digest: str) -> None:
        _write_arrays(self.path / _IMPORTANCE, {**scores, "network": np.array(digest)})

    def checkpoint_files(self, state: RunState) -> tuple[Path, Path]:
        """The files of the state's checkpoint: the network with its optimizer, and the averaged weights."""
        return self.path / f"{state.checkpoint}.keras", self.path / f"{state.checkpoint}.weights.h5"

    def save_checkpoint(self, state: RunState, model: "keras.Model", average: "keras.Model") -> None:
        """Write a checkpoint, then the state that names it, then delete older checkpoints. If the process is
        killed at any point, at most one epoch is lost."""
        state.checkpoint = f"{_CHECKPOINT}{len(state.history):03d}"
        whole, averaged = self.checkpoint_files(state)
        write_atomically(whole, model.save)
        write_atomically(averaged, average.save_weights)
        self.write_state(state)
        self._delete_checkpoints(keep={whole, averaged})

    def delete_checkpoints(self) -> None:
        """Delete all checkpoints when the run does not need them any more."""
        self._delete_checkpoints(keep=set())

    def _delete_checkpoints(self, keep: set[Path]) -> None:
        for path in set(self.path.glob(f"{_CHECKPOINT}*")) - keep:
            path.unlink()


def _config_from(values: Mapping[str, Any]) -> RunConfig:
    recipe, teachers = Recipe.from_dict(values["recipe"]), tuple(values["teachers"])
    return RunConfig(**{**values, "recipe": recipe, "teachers": teachers})


def _read(path: Path, parse: Callable[[Mapping[str, Any]], T]) -> T:
    return _translated(path, lambda: parse(json.loads(path.read_text(encoding="utf-8"))))


def _translated(path: Path, read: Callable[[], T]) -> T:
    try:
        return read()
    except FileNotFoundError as exc:
        raise RunError(
            f"{path} is missing: give the folder of a finished `python -m training fit`; the same fit command finishes "
            "an interrupted one"
        ) from exc
    except OSError as exc:
        raise RunError(f"{path} cannot be read ({exc.strerror}): check the path and its permissions") from exc
    except (ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, ConfigError) as exc:
        raise RunError(f"{path} was not written by this release, or is damaged: train again ({exc!r})") from exc


def _read_arrays(path: Path) -> dict[str, npt.NDArray[Any]]:
    with np.load(path) as stored:
        return dict(stored)


def _write_arrays(path: Path, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    write_atomically(path, functools.partial(np.savez, **arrays))  # type: ignore[arg-type]

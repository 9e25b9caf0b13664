"""The contract between the network and everything that uses it: one frozen dataclass, one JSON file beside the weights.

Labels, input size, normalization, tensor names, temperature, threshold, version and hash are defined here and
nowhere else. Training fills it in, export saves it, serving refuses a bundle that does not match it.
"""

import dataclasses
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self, get_origin, get_type_hints

from handler.errors import BundleMissing, BundleTampered, ContractError

CONTRACT_VERSION = 3
"""Raised whenever a bundle of the old form could be misread by new code, or the other way round."""

LEAST_INPUT_SIZE = 32
"""Pixels: VGG19 halves an image five times, and nothing is left of a smaller one."""

MODEL_FILE = "model.onnx"
CONTRACT_FILE = "model.json"
CARD_FILE = "README.md"

EMBEDDED_BUNDLE = Path(__file__).with_name("model")
"""The bundle that this release ships."""

INPUT_NAME = "pixels"
EXPLAIN_NAME = "explain"
OUTPUT_NAME = "probabilities"
MAP_NAME = "activation_map"
DISTANCE_NAME = "distance"
"""Tensor names of the graphs that `export` makes; what serves a bundle takes them from its contract."""

LABELS = ("NORMAL", "PNEUMONIA")
"""Class names in the order of the network's outputs, which is also how the folders of a data set are called."""

PIXEL_SCALE = 1 / 255
"""What a pixel is multiplied with; it stands in the network itself, so callers always hand over raw uint8."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Contract:
    """What a bundle promises.

    The graph takes `input_name`, uint8 `[N, 1, input_size, input_size]` (0 black, 255 white), and may be given
    `explain_name`, a scalar bool which is false by default. It gives:

    - `output_name`: float32 `[N, len(labels)]` probabilities that already carry `temperature`. The positive class is
      the last label; an image is called positive when that probability is at least `threshold`.
    - `map_name`: float32 `[N, h, w]` in 0..1, where in the image the evidence for the positive class lies; only
      computed where `explain_name` is true, and without rows where it is not.
    - `distance_name`: float32 `[N]`, the distance of the out-of-distribution (OOD) detector; an image with a distance
      above `ood_threshold` is taken for an OOD image.
    """

    name: str
    version: str
    sha256: str
    """Hex digest of `model.onnx`."""
    input_size: int
    threshold: float
    uncertain_from: float
    uncertain_to: float
    """Between these two probabilities of the positive class the answer should be left to a reader."""
    temperature: float
    ood_threshold: float
    labels: tuple[str, ...] = LABELS
    input_name: str = INPUT_NAME
    explain_name: str = EXPLAIN_NAME
    output_name: str = OUTPUT_NAME
    map_name: str = MAP_NAME
    distance_name: str = DISTANCE_NAME
    pixel_scale: float = PIXEL_SCALE
    contract_version: int = CONTRACT_VERSION
    metrics: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """Measured results by split, for people to read. Serving looks up no more than what the network learned from, see
    `handler.card.data_set`."""

    def __post_init__(self) -> None:
        _require_version(self.contract_version)
        _require(
            len(set(self.labels)) == len(self.labels) == 2
            and all(label and isinstance(label, str) for label in self.labels),
            f"labels must be two class names, got {self.labels!r}",
        )
        _require(0.0 < self.threshold < 1.0, f"threshold must lie between 0 and 1, got {self.threshold}")
        _require(
            0.0 <= self.uncertain_from <= self.threshold <= self.uncertain_to <= 1.0,
            f"the threshold {self.threshold} must lie in the abstention band {self.uncertain_from} to "
            f"{self.uncertain_to}, and that in 0 to 1",
        )
        _require(self.ood_threshold > 0.0, f"ood_threshold must be positive, got {self.ood_threshold}")
        _require(self.temperature > 0.0, f"temperature must be positive, got {self.temperature}")
        _require(
            self.input_size >= LEAST_INPUT_SIZE,
            f"input_size must be at least {LEAST_INPUT_SIZE} pixels, got {self.input_size}",
        )

    @property
    def positive(self) -> str:
        """The label whose probability is held against the threshold."""
        return self.labels[-1]

    def label(self, probability: float) -> str:
        """The label for a probability (0..1) of the positive class."""
        return self.labels[-1] if probability >= self.threshold else self.labels[0]

    def uncertain(self, probability: float) -> bool:
        """Whether a probability (0..1) of the positive class falls in the abstention band."""
        return self.uncertain_from <= probability <= self.uncertain_to

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), indent=2, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Parse strictly.

        Raises:
            ContractError: on bad JSON, an unknown or missing key, or a value of the wrong type.
        """
        try:
            values = json.loads(text)
            json.dumps(values, allow_nan=False)  # which `loads` lets through
        except (ValueError, RecursionError) as exc:
            raise ContractError(f"{CONTRACT_FILE} is not JSON ({exc}): {_REMEDY}") from exc
        _require(isinstance(values, dict), "it must hold one JSON object")
        # Checked before the keys are: a bundle of another version may well have other ones.
        _require_version(values.get("contract_version"))
        unknown, missing = sorted(values.keys() - _TYPES.keys()), sorted(_TYPES.keys() - values.keys())
        _require(not unknown, f"it has unknown keys, {', '.join(unknown)}")
        _require(not missing, f"it lacks {', '.join(missing)}")
        if isinstance(values["labels"], list):
            values["labels"] = tuple(values["labels"])
        for name, value in values.items():
            right = isinstance(value, _TYPES[name]) and not isinstance(value, bool)
            _require(right, f"{name} has the wrong type: {value!r}")
        return cls(**values)


_TYPES: dict[str, Any] = {
    name: (int, float) if hint is float else get_origin(hint) or hint for name, hint in get_type_hints(Contract).items()
}
"""What `isinstance` takes for each field."""

_REMEDY = "restore it from the release, or rebuild the bundle with `python -m export build`"


def _require(condition: bool, wrong: str) -> None:
    if not condition:
        raise ContractError(f"{CONTRACT_FILE}: {wrong}: {_REMEDY}")


def _require_version(found: object) -> None:
    if found != CONTRACT_VERSION:
        raise ContractError(
            f"the bundle speaks contract version {found!r}, this code speaks {CONTRACT_VERSION}: rebuild the bundle "
            "with this release's `python -m export build`, or install the matching release"
        )


def load_bundle(folder: str | os.PathLike[str]) -> tuple[Contract, bytes]:
    """Read a bundle and prove that the weights are the ones that its contract describes.

    Returns:
        The contract and the bytes of the ONNX file. The bytes that were hashed are the bytes that are returned, so
        nothing can change between the check and the use.

    Raises:
        BundleMissing: a file is absent or may not be read.
        ContractError: `model.json` is malformed or of another version.
        BundleTampered: the hash does not match.
    """
    folder = Path(folder)
    try:
        contract = Contract.from_json((folder / CONTRACT_FILE).read_text(encoding="utf-8"))
        weights = (folder / MODEL_FILE).read_bytes()
    except (FileNotFoundError, NotADirectoryError) as exc:
        raise BundleMissing(
            f"{folder} is not a model bundle: {exc.filename} is missing. "
            "Build one with `python -m export build`, or restore handler/model from the repository"
        ) from exc
    except OSError as exc:
        raise BundleMissing(f"{exc.filename} cannot be read ({exc.strerror}): check the path and its rights") from exc
    except UnicodeDecodeError as exc:
        raise ContractError(f"{CONTRACT_FILE} is not UTF-8 text: {_REMEDY}") from exc
    digest = hashlib.sha256(weights).hexdigest()
    if digest != contract.sha256:
        raise BundleTampered(
            f"{folder / MODEL_FILE} has SHA-256 {digest}, but {CONTRACT_FILE} records {contract.sha256}: "
            "the file is damaged or belongs to another contract; restore both from one release"
        )
    return contract, weights

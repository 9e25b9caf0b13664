"""The contract between the network and everything that uses it: one frozen dataclass, one JSON file beside the weights.

Labels, input size, normalization, tensor names, temperature, threshold, version and hash are defined here and
nowhere else. Training sets the values, export saves them, and serving refuses a bundle that does not match them.
"""

import dataclasses
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from handler.errors import BundleMissing, BundleTampered, ContractError
from handler.strict import parsed

if TYPE_CHECKING:
    # The settings import this module before the decoder starts, which is fastest while NumPy has no threads.
    import numpy as np
    import numpy.typing as npt

CONTRACT_VERSION = 4
"""Increased when new code could misread an old bundle, or old code a new one."""

LEAST_INPUT_SIZE = 32
"""Minimum image size in pixels: VGG19 halves the size five times, and 32 px become one."""

MODEL_FILE = "model.onnx"
CONTRACT_FILE = "model.json"
CARD_FILE = "README.md"

EMBEDDED_BUNDLE = Path(__file__).with_name("model")
"""The bundle that this release ships."""

INPUT_NAME = "pixels"
OUTPUT_NAME = "probabilities"
DISTANCE_NAME = "distance"
UNLIKE_NAME = "unlike"
ORIENTATION_NAME = "orientation"
"""Tensor names of the graphs that `export` makes. Serving reads them from the contract."""

PHOTOGRAPHED = "photographed"
"""Name of the orientation of a photograph of a screen."""

PIXEL_SCALE = 1 / 255
"""Factor on the pixels. The network itself applies it, so its input is always uint8."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """Description of a bundle for people. The code itself contains no text about a data set or a disease."""

    title: str
    """What the model predicts, and from which images, such as "Pneumonia from chest X-rays"."""
    intended_use: str
    limits: tuple[str, ...]
    """Limits of the model because of its training data, one or two sentences each."""
    source: str
    """Short name of the training data."""
    data: str
    """Markdown: the source of the training data, and how it was split."""
    shift: str
    """Markdown: how other images differ from the training data."""
    license: str
    """SPDX identifier of the licence of the weights."""
    data_license: str
    """The licence of the training data."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Contract:
    """The contract of a bundle.

    The input of the graph is `input_name`, uint8 `[N, 1, input_size, input_size]` (0 black, 255 white). The outputs:

    - `output_name`: float32 `[N, len(labels)]`, probabilities after temperature scaling with `temperature`.
    - `distance_name`: float32 `[N]`, the distance of the out-of-distribution (OOD) detector; an image with a distance
      above `ood_threshold` is an OOD image.
    - `unlike_name`: float32 `[N]`, a distance from the training images; above `unlike_threshold` there is a warning.
    - `orientation_name`: float32 `[N, len(orientations)]` probabilities. There is a warning if that of `PHOTOGRAPHED`
      is above `most_photographed`, and if the sum of it and the first one, upright, is below `least_upright`.
    """

    name: str
    version: str
    sha256: str
    """Hex digest of `model.onnx`."""
    input_size: int
    labels: tuple[str, ...]
    """Class names in the order of the network's outputs. Of two labels the second is the positive one."""
    threshold: float | None
    """Two labels: the answer is the positive one at this probability or more. More labels: None, the answer is the most
    probable one."""
    set_thresholds: tuple[float, ...]
    """By label: the label is in the prediction set at this probability or more."""
    set_coverage: float
    """Share of the images of each class whose prediction set contains that class (class-conditional conformal
    prediction, Sadinle et al. 2019, arXiv:1609.00451), measured on validation images."""
    temperature: float
    ood_threshold: float
    unlike_threshold: float
    orientations: tuple[str, ...]
    """Names of orientations; the first one is the correct orientation. `PHOTOGRAPHED` may be among them."""
    least_upright: float
    most_photographed: float
    """1 if the bundle does not detect photographs."""
    about: About
    input_name: str = INPUT_NAME
    output_name: str = OUTPUT_NAME
    distance_name: str = DISTANCE_NAME
    unlike_name: str = UNLIKE_NAME
    orientation_name: str = ORIENTATION_NAME
    pixel_scale: float = PIXEL_SCALE
    contract_version: int = CONTRACT_VERSION
    metrics: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """Measured results by split, for information. Serving does not use them."""

    def __post_init__(self) -> None:
        _require_version(self.contract_version)
        count = len(self.labels)
        _require(
            count >= 2
            and len({label.casefold() for label in self.labels if isinstance(label, str)}) == count
            and all(label.strip() for label in self.labels),
            f"labels must be two or more different class names, got {self.labels!r}",
        )
        _require(
            len(self.set_thresholds) == count and all(0.0 <= value <= 1.0 for value in self.set_thresholds),
            f"set_thresholds must be one probability for each label, got {self.set_thresholds!r}",
        )
        _require(0.0 < self.set_coverage < 1.0, f"set_coverage must lie between 0 and 1, got {self.set_coverage}")
        _require(
            (self.threshold is None) == (count > 2),
            f"threshold must be a number for two labels, and null otherwise: got {self.threshold} for {count} labels",
        )
        if self.threshold is not None:
            _require(0.0 < self.threshold < 1.0, f"threshold must lie between 0 and 1, got {self.threshold}")
            low, high = self.set_thresholds[1], 1 - self.set_thresholds[0]
            _require(
                low - 1e-9 <= self.threshold <= high + 1e-9,
                f"the label of the threshold {self.threshold} must be in the prediction set, so the threshold "
                f"must lie in {low} to {high}",
            )
        _require(self.ood_threshold > 0.0, f"ood_threshold must be positive, got {self.ood_threshold}")
        _require(self.unlike_threshold > 0.0, f"unlike_threshold must be positive, got {self.unlike_threshold}")
        _require(
            len({*self.orientations} - {PHOTOGRAPHED}) > 1 and 0.0 <= self.least_upright <= 1.0,
            f"there must be two orientations or more, and least_upright must lie in [0, 1], got {self.least_upright}",
        )
        _require(
            0.0 <= self.most_photographed <= 1.0, f"most_photographed must lie in [0, 1], got {self.most_photographed}"
        )
        _require(self.temperature > 0.0, f"temperature must be positive, got {self.temperature}")
        _require(
            self.input_size >= LEAST_INPUT_SIZE,
            f"input_size must be at least {LEAST_INPUT_SIZE} pixels, got {self.input_size}",
        )

    @property
    def positive(self) -> str | None:
        """The label whose probability is compared with the threshold; None with more than two labels."""
        return self.labels[1] if self.threshold is not None else None

    def label(self, probabilities: "npt.NDArray[np.floating]") -> str:
        """Return the label for the probabilities `[K]` of one image."""
        return self.labels[int(decide(probabilities[None], self.threshold)[0])]

    def explained_label(self, probabilities: "npt.NDArray[np.floating]") -> str:
        """Return the label that an explanation refers to, for the probabilities `[K]` of one image: the positive one
        of two labels, or the most probable one of more."""
        return self.positive or self.label(probabilities)

    def prediction_set(self, probabilities: "npt.NDArray[np.floating]") -> list[str]:
        """Return the labels that cannot be excluded, for the probabilities `[K]` of one image. The image is uncertain
        unless the set contains only `label`. With more than two labels, the only element can be a different label."""
        found = zip(self.labels, probabilities, self.set_thresholds, strict=True)
        return [label for label, probability, least in found if probability >= least]

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), indent=2, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Contract":
        """Parse and check JSON.

        Raises:
            ContractError: the JSON is invalid, a key is unknown or missing, or a value has the wrong type.
        """
        try:
            values = json.loads(text)
            json.dumps(values, allow_nan=False)  # `loads` accepts NaN and infinity
        except (ValueError, RecursionError) as exc:
            raise ContractError(f"{CONTRACT_FILE} is not JSON ({exc}): {_REMEDY}") from exc
        _require(isinstance(values, dict), "it must hold one JSON object")
        # Checked before the keys, because a bundle of another version may have other keys.
        _require_version(values.get("contract_version"))
        _require(isinstance(values["about"], dict), f"about has the wrong type: {values['about']!r}")
        values["about"] = parsed(About, values["about"], _require, "about.")
        return parsed(Contract, values, _require)


def decide(probabilities: "npt.NDArray[np.floating]", threshold: float | None) -> "npt.NDArray[np.int64]":
    """Return the index `[N]` of the label for probabilities `[N, K]`.

    Args:
        threshold: minimum probability of the second of two labels; None: the label is the most probable one.
    """
    decided: Any = probabilities.argmax(axis=1) if threshold is None else probabilities[:, 1] >= threshold
    indices: npt.NDArray[np.int64] = decided.astype("int64")
    return indices


_REMEDY = "restore it from the release, or rebuild the bundle with `python -m export build`"


def _require(condition: bool, wrong: str) -> None:
    if not condition:
        raise ContractError(f"{CONTRACT_FILE}: {wrong}: {_REMEDY}")


def _require_version(found: object) -> None:
    if found != CONTRACT_VERSION:
        raise ContractError(
            f"the bundle has contract version {found!r}, this release reads {CONTRACT_VERSION}: rebuild the bundle "
            "with this release's `python -m export build`, or install the matching release"
        )


def load_bundle(folder: str | os.PathLike[str]) -> tuple[Contract, bytes]:
    """Read a bundle and verify the hash of its weights.

    Returns:
        The contract and the bytes of the ONNX file. The hash is that of the returned bytes, so the file cannot change
        between the check and the use.

    Raises:
        BundleMissing: a file is absent or cannot be read.
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
        raise BundleMissing(
            f"{exc.filename} cannot be read ({exc.strerror}): check the path and its permissions"
        ) from exc
    except UnicodeDecodeError as exc:
        raise ContractError(f"{CONTRACT_FILE} is not UTF-8 text: {_REMEDY}") from exc
    digest = hashlib.sha256(weights).hexdigest()
    if digest != contract.sha256:
        raise BundleTampered(
            f"{folder / MODEL_FILE} has SHA-256 {digest}, but {CONTRACT_FILE} records {contract.sha256}: "
            "the file is damaged or belongs to another contract; restore both from one release"
        )
    return contract, weights

"""Score an image from its bytes. The API, the command line and the batches all use this module."""

from collections.abc import Callable, Mapping
from time import perf_counter
from typing import Any, NotRequired, TypedDict

import numpy as np
import numpy.typing as npt

from handler.calibration import Array, shift_prevalence
from handler.classifier import Classifier
from handler.contract import Contract
from handler.errors import HandlerError, InputError, NotAnXray, TemporaryError
from handler.imaging.decode import Pixels
from handler.prevalence import prevalence_of, shifted
from handler.warnings import ImageWarning, warnings_of

Source = Callable[[], bytes]
"""A lazy image: a call returns the bytes of a file, or raises an `InputError` or a `TemporaryError`."""


Decode = Callable[[bytes, int], Pixels]


class Prediction(TypedDict):
    """The result for one image, ready to be written as JSON."""

    label: str
    probabilities: dict[str, float]
    prevalence: dict[str, float]
    threshold: float | None
    prediction_set: list[str]
    uncertain: bool
    warnings: list[ImageWarning]
    distance: float
    timings: dict[str, float]
    explanation: NotRequired[dict[str, Any]]
    preview: NotRequired[str]


Outcome = Prediction | HandlerError
"""The prediction for one image, or the error that prevented it."""


class Predictor:
    """A network and a decoder. Safe to share between threads.

    Args:
        classifier: the network.
        decode: turns the bytes of a file into pixels `[S, S]`, uint8, given `S`. Untrusted files need the limits of
            `handler.imaging.isolation.Decoder.decode`.
        prevalence: by label, see `handler.prevalence.prevalence_of`.

    Raises:
        SettingsError: the prevalence does not belong to the labels.
    """

    def __init__(self, classifier: Classifier, decode: Decode, prevalence: Mapping[str, float] | None = None) -> None:
        self.classifier = classifier
        self.contract = classifier.contract
        self.prevalence = prevalence_of(prevalence or {}, self.contract)
        self._decode = decode

    def predict(self, data: bytes, *, explain: bool = False, force: bool = False, preview: bool = False) -> Prediction:
        """Score one image.

        Args:
            data: the bytes of a file as `handler.imaging.decode` reads them.
            explain: add an occlusion map, as numbers and as an overlay image, see `handler.explain`.
            force: score the image even if it does not look like an X-ray.
            preview: add what the network saw as an image, see `handler.preview`.

        Raises:
            InputError: the image cannot be read, exceeds the limits of decoding, or does not look like an X-ray.
            Overloaded: the image is slow to decode, and too many other slow images are being decoded.
        """
        contract = self.contract
        start = perf_counter()
        pixels = self._decode(data, contract.input_size)
        decoded = perf_counter()
        scores = self.classifier.score(pixels[np.newaxis])
        scored = perf_counter()
        distance = float(scores.distances[0])
        # The comparison is negated, so that a distance of NaN is refused.
        if not (force or distance <= contract.ood_threshold):
            raise NotAnXray(
                "Its distance from the training X-rays is "
                f"{distance:.1f}, the limit is {contract.ood_threshold:.1f}; send a frontal chest X-ray, or use "
                "force=true to score it anyway."
            )
        probabilities = scores.probabilities[0]
        timings = {
            "decode_ms": round((decoded - start) * 1000, 3),
            "inference_ms": round((scored - decoded) * 1000, 3),
        }
        prediction = prediction_of(
            contract, probabilities, self.prevalence, warnings_of(contract, scores, pixels), distance, timings
        )
        if explain:
            from handler.explain import explanation  # loads Pillow's PNG writer, which few requests need

            label = contract.explained_label(probabilities)
            prediction["explanation"] = explanation(self.classifier, pixels, label)
        if preview:
            from handler.preview import preview as preview_of  # see above

            prediction["preview"] = preview_of(pixels)
        return prediction

    def score_or_error(
        self, source: Source, *, explain: bool = False, force: bool = False, preview: bool = False
    ) -> Outcome:
        """Fetch and score one image of several. Return its error instead of raising it, so that the others are
        scored."""
        try:
            return self.predict(source(), explain=explain, force=force, preview=preview)
        except (InputError, TemporaryError) as exc:
            return exc.bare()


def prediction_of(
    contract: Contract,
    probabilities: npt.NDArray[np.floating],
    prevalence: Array,
    warnings: list[ImageWarning],
    distance: float,
    timings: dict[str, float],
) -> Prediction:
    """Apply the contract to the probabilities `[K]` of one image.

    Args:
        prevalence: `[K]`. It shifts only the probabilities and the threshold.
    """
    label, prediction_set = contract.label(probabilities), contract.prediction_set(probabilities)
    shown = shift_prevalence(probabilities[np.newaxis].astype(np.float64), prevalence)[0]
    threshold = contract.threshold
    return {
        "label": label,
        "probabilities": dict(zip(contract.labels, shown.tolist(), strict=True)),
        "prevalence": dict(zip(contract.labels, prevalence.tolist(), strict=True)),
        "threshold": None if threshold is None else shifted(threshold, prevalence),
        "prediction_set": prediction_set,
        "uncertain": prediction_set != [label],
        "warnings": warnings,
        "distance": distance,
        "timings": timings,
    }


def identity(contract: Contract) -> dict[str, str]:
    """Return name, version and SHA-256 of the model."""
    return {"name": contract.name, "version": contract.version, "sha256": contract.sha256}

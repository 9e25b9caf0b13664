"""Make the decoder and the classifier that the settings describe."""

import importlib.util
import os
from typing import TYPE_CHECKING

from handler.errors import SettingsError
from handler.settings import Settings

if TYPE_CHECKING:
    from handler.classifier import Classifier
    from handler.imaging.isolation import Decoder


def start_decoder(settings: Settings) -> "Decoder":
    """Start the decoder. This is fastest while the process has one thread, so call this first."""
    # Without this, NumPy starts threads that serving does not use.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from handler.imaging.isolation import Decoder

    return Decoder(settings.decode_limits, workers=settings.workers)


def load(settings: Settings) -> "Classifier":
    """Load the classifier and run it once.

    Raises:
        BundleError: the model cannot be served; the message names the remedy.
        SettingsError: the model is on the Hub, but the Hub's client is not installed or the cache cannot be used; or
            the calibration cannot be read, or was fitted for another bundle.
    """
    import numpy as np

    from handler.classifier import Classifier

    bundle = settings.bundle
    if settings.repo:
        if importlib.util.find_spec("huggingface_hub") is None:
            raise SettingsError(
                "MODEL_REPO is set, but huggingface_hub is not installed: install this package with its extra `hub`"
            )
        from handler.hub import fetch

        try:
            bundle = fetch(settings.repo, settings.revision, settings.cache)
        except OSError as exc:
            raise SettingsError(f"MODEL_CACHE cannot be used: {exc}") from exc
    calibration = None
    if settings.calibration:
        from handler.local_calibration import load_calibration

        calibration = load_calibration(settings.calibration)
    classifier = Classifier(bundle, calibration=calibration)
    # The first run allocates memory that later runs reuse, so that no request waits for it.
    size = classifier.contract.input_size
    classifier.score(np.zeros((1, size, size), np.uint8))
    return classifier

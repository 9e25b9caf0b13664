"""From settings to a classifier that is ready to answer."""

import importlib.util
import io
from typing import TYPE_CHECKING

from handler.errors import SettingsError
from handler.settings import Settings

if TYPE_CHECKING:
    from handler.classifier import Classifier


def load(settings: Settings) -> "Classifier":
    """The classifier that the settings ask for, warmed up.

    Raises:
        BundleError: the model cannot be served; the message names the remedy.
        SettingsError: it is to come from the Hub, whose client is not installed or whose cache holds something else.
    """
    from handler.classifier import Classifier
    from handler.imaging.decode import decode

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
    classifier = Classifier(bundle)
    # The first picture loads decoders and the first run allocates what later runs reuse: let no caller wait for that.
    classifier.score(decode(_any_picture(), classifier.contract.input_size)[None])
    return classifier


def _any_picture() -> bytes:
    from PIL import Image

    file = io.BytesIO()
    Image.new("L", (1, 1)).save(file, "JPEG")
    return file.getvalue()

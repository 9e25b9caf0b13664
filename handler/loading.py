"""From settings to a classifier that is ready to answer."""

import io
from typing import TYPE_CHECKING

from handler.settings import Settings

if TYPE_CHECKING:
    from handler.classifier import Classifier


def load(settings: Settings) -> "Classifier":
    """The classifier that the settings ask for, warmed up.

    Raises:
        BundleError: the model cannot be served; the message names the remedy.
    """
    from handler.classifier import Classifier
    from handler.image import decode

    bundle = settings.bundle
    if settings.repo:
        from handler.hub import fetch

        bundle = fetch(settings.repo, settings.revision, settings.cache)
    classifier = Classifier(bundle)
    # The first picture loads decoders and the first run allocates what later runs reuse: let no caller wait for that.
    classifier.score(decode(_any_picture(), classifier.contract.input_size)[None])
    return classifier


def _any_picture() -> bytes:
    from PIL import Image

    file = io.BytesIO()
    Image.new("L", (1, 1)).save(file, "JPEG")
    return file.getvalue()

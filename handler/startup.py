"""What a process does once: read its settings, load the model, run it a first time.

Importing this module starts that in a thread, so that the session is built while the web framework is imported: import
it before anything heavy.
"""

import gc
import io
from concurrent.futures import ThreadPoolExecutor
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


# What is made while a process starts is there to stay: looking for garbage in it is a twentieth of a cold start.
gc.disable()
settings = Settings.from_environment()
_pool = ThreadPoolExecutor(1, thread_name_prefix="load-model")
_loading = _pool.submit(load, settings)
_pool.shutdown(wait=False)


def classifier() -> "Classifier":
    """This process's classifier; waits until it is loaded, and raises what loading raised."""
    loaded = _loading.result()
    gc.freeze()
    gc.enable()
    return loaded

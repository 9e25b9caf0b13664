"""What a serving process does once: read its settings, load the model, run it a first time.

Importing this module starts that in a thread, so that the session is built while the web framework is imported: import
it before anything heavy.
"""

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from handler.loading import load
from handler.settings import Settings

if TYPE_CHECKING:
    from handler.classifier import Classifier

settings = Settings.from_environment()
_pool = ThreadPoolExecutor(1, thread_name_prefix="load-model")
_loading = _pool.submit(load, settings)
_pool.shutdown(wait=False)


def classifier() -> "Classifier":
    """This process's classifier; waits until it is loaded, and raises what loading raised."""
    return _loading.result()

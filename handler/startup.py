"""What a serving process does once: read its settings, start its decoder, load the model, run it a first time.

Importing this module starts that. The model is loaded in a thread, while the web framework is imported: import this
module before anything heavy.
"""

import atexit
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from handler.loading import load, start_decoder
from handler.settings import Settings

if TYPE_CHECKING:
    from handler.scoring import Predictor

settings = Settings.from_environment()
decoder = start_decoder(settings)
atexit.register(decoder.close)
_pool = ThreadPoolExecutor(1, thread_name_prefix="load-model")
_loading = _pool.submit(load, settings)
_pool.shutdown(wait=False)


def predictor() -> "Predictor":
    """This process's predictor. Waits until the model is loaded, and raises what loading raised."""
    from handler.scoring import Predictor

    return Predictor(_loading.result(), decoder.decode)

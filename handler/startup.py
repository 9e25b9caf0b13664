"""Start a serving process: read the settings, start the decoder, load the model and run it once.

The import of this module does this. A thread loads the model while other modules are imported. So import this module
before slow modules, such as the web framework.

Until `predictor` returns, garbage collection is off: nearly all objects that are made at start stay, and collections
would take a tenth of the CPU time of a cold start.
"""

import atexit
import gc
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from handler.loading import load, start_decoder
from handler.settings import Settings

if TYPE_CHECKING:
    from handler.scoring import Predictor

gc.disable()
settings = Settings.from_environment()
decoder = start_decoder(settings)
atexit.register(decoder.close)
_pool = ThreadPoolExecutor(1, thread_name_prefix="load-model")
_loading = _pool.submit(load, settings)
_pool.shutdown(wait=False)


def predictor() -> "Predictor":
    """Wait until the model is loaded, and return this process's predictor. Raise the exception of loading, if any."""
    from handler.scoring import Predictor

    try:
        return Predictor(_loading.result(), decoder.decode, settings.prevalence)
    finally:
        gc.freeze()  # these objects stay, so later collections skip them
        gc.enable()

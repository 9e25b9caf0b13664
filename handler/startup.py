"""Start a serving process: read the settings, start the decoder, load the model and run it once.

Importing this module does this. A thread loads the model while other modules are imported. So import this module before
those that take long, such as the web framework.

Until `predictor` returns, garbage is not collected: nearly everything that is made at start stays, and to look through
it again and again is a tenth of the CPU time of a cold start.
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
    """This process's predictor. Waits until the model is loaded. Raises the exception of loading, if any."""
    from handler.scoring import Predictor

    try:
        return Predictor(_loading.result(), decoder.decode, settings.prevalence)
    finally:
        gc.freeze()  # what is there now stays, so later collections need not look at it
        gc.enable()

"""Compile the modules of the standard library that the service loads. It runs when the image is built:

    python infra/precompile.py /opt/bytecode

The official Python images contain the standard library only as source, and the file system of a function is read-only,
so every cold start would compile the same modules. The whole compiled library has 13 MB, so only the modules that a
cold start and a first request load are compiled. This script needs only the standard library.
"""

import os
import py_compile
import subprocess
import sys
import sysconfig
import tempfile
import time
import urllib.error
import urllib.request
from importlib.util import cache_from_source, source_from_cache
from pathlib import Path

IMAGE = "handler/page/phantom.png"
URL = "http://127.0.0.1:7860"
START_S = 60

ENTRY = f"""
import base64, pathlib
import awslambdaric.__main__
from handler.lambda_entry import lambda_handler
from types import SimpleNamespace

http = {{"method": "POST", "path": "/v1/predictions", "sourceIp": "127.0.0.1"}}
event = {{
    "version": "2.0", "rawPath": http["path"], "rawQueryString": "force=true", "headers": {{"host": "localhost"}},
    "requestContext": {{"http": http}},
    "body": base64.b64encode(pathlib.Path({IMAGE!r}).read_bytes()).decode(), "isBase64Encoded": True,
}}
answer = lambda_handler(event, SimpleNamespace(aws_request_id="0", get_remaining_time_in_millis=lambda: 60_000))
assert answer["statusCode"] == 200, answer
"""


def loaded_modules(cache: Path) -> list[Path]:
    """Run both services, and list the source files of the standard library that they load.

    Args:
        cache: an empty folder, to which Python writes the modules that it compiles.

    Raises:
        subprocess.CalledProcessError: the entry point of Lambda does not answer.
        OSError: the server does not answer.
    """
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(cache)}
    subprocess.run([sys.executable, "-c", ENTRY], env=environment, check=True)  # noqa: S603
    command = [sys.executable, "-m", "handler", "serve", "--port", URL.rpartition(":")[2]]
    with subprocess.Popen(command, env=environment) as server:  # noqa: S603
        try:
            _ask("/readyz", None)
            _ask("/v1/predictions?force=true", Path(IMAGE).read_bytes())
        finally:
            server.terminate()
    library = Path(sysconfig.get_path("stdlib"))
    below = Path(f"{cache}{library}")
    found = (library / path.relative_to(below) for path in below.rglob("*.pyc") if "site-packages" not in path.parts)
    # The name of a cached file ends with the version of Python.
    return sorted(Path(source_from_cache(str(path.parent / "__pycache__" / path.name))) for path in found)


def _ask(path: str, body: bytes | None) -> None:
    request = urllib.request.Request(URL + path, body, {"Content-Type": "image/png"})  # noqa: S310
    deadline = time.monotonic() + START_S
    while True:
        try:
            urllib.request.urlopen(request, timeout=START_S).close()  # noqa: S310
        except urllib.error.HTTPError:
            raise
        except OSError:  # the server is still starting
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return


def precompile(out: Path) -> None:
    """Compile into a folder that is copied over the root of the image."""
    with tempfile.TemporaryDirectory() as cache:
        sources = loaded_modules(Path(cache))
    for source in sources:
        # Unchecked, because the times of files in an image have no meaning.
        mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
        py_compile.compile(str(source), f"{out}{cache_from_source(str(source))}", doraise=True, invalidation_mode=mode)


if __name__ == "__main__":
    precompile(Path(sys.argv[1]))

"""Time a warm request, and decoding alone.

    python -m export benchmark --warm-path

Decoding takes turns with the plainest code for the same: Pillow's decoding and one antialiased resize of the same JPEG.
It is timed in this process and in the worker process in which the service decodes. A request goes through the Lambda
entry with a stored event of API Gateway; its answer says how long decoding and inference took.
"""

import contextlib
import io
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from export.benchmark.environment import pinned
from export.benchmark.lambda_context import LambdaContext
from export.benchmark.results import heading
from export.benchmark.sample_request import RADIOGRAPH_SIZE, radiograph, write_event
from export.benchmark.samples import Samples
from handler.contract import load_bundle
from handler.imaging.decode import Pixels, decode
from handler.scoring import identity

WARM_UP = 5
"""Rounds before the measured ones."""


def warm_path(bundle: Path, *, threads: int = 1, rounds: int = 1024) -> dict[str, Any]:
    """Measure decoding and whole requests, in turns.

    Args:
        bundle: what the Lambda entry serves.
        threads: CPU cores that this process and its decoder may use.
        rounds: of each, after `WARM_UP` others.

    Returns:
        `date`, `machine`, `threads`, `model` with its `name`, `version` and `sha256`, `rounds`, `image` and `parts`,
        each a summary of `export.benchmark.samples.Samples`: `decode`, `isolated decode` (in a worker process) and
        `plain decode` of a JPEG of 2000 x 1700 pixels, then `request` with the sample image and its parts, `request:
        decode` (in a worker process), `request: inference` and `request: rest`. `decode_ratio` and
        `isolated_decode_ratio` are the medians of the two over that of `plain decode`: `value`, `low` and `high`.
        `samples` has `{"turns_us": ...}` of each part, where consecutive rounds are a turn.

    Raises:
        BundleError: see `handler.errors`.
    """
    contract, _ = load_bundle(bundle)
    jpeg = radiograph()
    times: dict[str, list[float]] = {}

    def add(part: str, milliseconds: float) -> None:
        times.setdefault(part, []).append(milliseconds)

    # Writing the log takes part of the time of a request, but the lines must not go to the output.
    log = Path(os.devnull).open("w")  # noqa: SIM115  # closed by the next statement
    with pinned(threads), tempfile.TemporaryDirectory() as folder, log, contextlib.redirect_stdout(log):
        answer, isolated_decode = _service(bundle)
        event = json.loads(write_event(Path(folder)).read_bytes())
        for _ in tqdm(range(WARM_UP + rounds), desc="rounds", leave=False):
            add("decode", _timed(lambda: decode(jpeg, contract.input_size))[0])
            add("isolated decode", _timed(lambda: isolated_decode(jpeg, contract.input_size))[0])
            add("plain decode", _timed(lambda: _plain(jpeg, contract.input_size))[0])
            whole, response = _timed(lambda: answer(event, LambdaContext()))
            timings = json.loads(response["body"])["predictions"][0]["timings"]
            add("request", whole)
            add("request: decode", timings["decode_ms"])
            add("request: inference", timings["inference_ms"])
            add("request: rest", max(0.0, whole - timings["decode_ms"] - timings["inference_ms"]))
    samples = {part: Samples.split(found[WARM_UP:]) for part, found in times.items()}
    plain = samples["plain decode"]
    width, height = RADIOGRAPH_SIZE
    return heading(threads) | {
        "model": identity(contract),
        "rounds": rounds,
        "image": {"width": width, "height": height, "bytes": len(jpeg)},
        "parts": {part: found.summary() for part, found in samples.items()},
        "decode_ratio": samples["decode"].ratio(plain)._asdict(),
        "isolated_decode_ratio": samples["isolated decode"].ratio(plain)._asdict(),
        "samples": {part: found.to_json() for part, found in samples.items()},
    }


def _service(bundle: Path) -> tuple[Callable[[Any, Any], dict[str, Any]], Callable[[bytes, int], Pixels]]:
    """The entry as Lambda imports it, and the decoder that it uses."""
    os.environ["MODEL_BUNDLE"] = str(bundle.resolve())
    for name in ("MODEL_REPO", "MODEL_REVISION"):  # which would replace the bundle
        os.environ.pop(name, None)
    from handler import lambda_entry, startup

    return lambda_entry.lambda_handler, startup.decoder.decode


def _plain(data: bytes, size: int) -> Any:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("L").resize((size, size), Image.Resampling.BILINEAR))


def _timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """How long the call takes, in milliseconds, and its result."""
    start = time.perf_counter()
    result = work()
    return (time.perf_counter() - start) * 1e3, result

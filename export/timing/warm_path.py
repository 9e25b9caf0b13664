"""Time what a warm request costs beside the network.

    python -m export benchmark --warm-path

Decoding takes turns with what a newcomer would write: Pillow's plain decoding and one antialiased resize of the same
JPEG. A request goes through the Lambda entry with a stored event of API Gateway; what its answer says of decoding and
inference is taken off the time of the whole.
"""

import contextlib
import datetime
import io
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from PIL import Image
from tqdm import tqdm

from export.timing.first_answer import Context
from export.timing.machine import describe
from export.timing.process import PICTURE, pinned, write_event
from handler.contract import load_bundle
from handler.imaging.decode import decode

WIDTH, HEIGHT = 2000, 1700
WARM_UP = 5


def warm_path(bundle: Path, *, threads: int = 1, rounds: int = 200) -> dict[str, Any]:
    """Measure decoding and whole requests, in turns.

    Args:
        bundle: what the Lambda entry serves.
        threads: cores that this process is held to.
        rounds: of each.

    Returns:
        `date`, `machine`, `threads`, `rounds`, `picture` and `parts`, each with `p50_ms` and `p99_ms`: `decode` and
        `plain decode` of a JPEG of 2000 x 1700 pixels, then `request` with the sample picture and what it consists of,
        `request: decode`, `request: inference` and `request: rest`. `decode_ratio` is that of the two medians.

    Raises:
        BundleError: see `handler.errors`.
    """
    contract, _ = load_bundle(bundle)
    jpeg = _radiograph()
    times: dict[str, list[float]] = {}

    def add(part: str, milliseconds: float) -> None:
        times.setdefault(part, []).append(milliseconds)

    with pinned(threads), tempfile.TemporaryDirectory() as folder, Path(os.devnull).open("w") as log:
        answer = _lambda_entry(bundle, log)
        event = json.loads(write_event(Path(folder)).read_bytes())
        for _ in tqdm(range(WARM_UP + rounds), desc="rounds", leave=False):
            add("decode", _timed(lambda: decode(jpeg, contract.input_size))[0])
            add("plain decode", _timed(lambda: _plain(jpeg, contract.input_size))[0])
            whole, said = _timed(lambda: answer(event, Context()))
            timings = json.loads(said["body"])["predictions"][0]["timings"]
            add("request", whole)
            add("request: decode", timings["decode_ms"])
            add("request: inference", timings["inference_ms"])
            add("request: rest", whole - timings["decode_ms"] - timings["inference_ms"])
    parts = {
        part: dict(zip(("p50_ms", "p99_ms"), np.percentile(found[WARM_UP:], (50, 99)).tolist(), strict=True))
        for part, found in times.items()
    }
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": describe(),
        "threads": threads,
        "rounds": rounds,
        "picture": {"width": WIDTH, "height": HEIGHT, "bytes": len(jpeg)},
        "parts": parts,
        "decode_ratio": parts["decode"]["p50_ms"] / parts["plain decode"]["p50_ms"],
    }


def _lambda_entry(bundle: Path, log: TextIO) -> Callable[[Any, Any], dict[str, Any]]:
    """The entry as Lambda would import it. Its log lines go to `log`: they are part of the time, not of the output."""
    os.environ["MODEL_BUNDLE"] = str(bundle.resolve())
    with contextlib.redirect_stdout(log):
        from handler import lambda_entry
    return lambda_entry.lambda_handler


def _radiograph() -> bytes:
    """The sample picture at the size of a radiograph, with the noise of a detector, as JPEG."""
    with Image.open(PICTURE) as sample:
        large = sample.convert("L").resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
    noise = np.random.default_rng(0).normal(0, 4, (HEIGHT, WIDTH))
    file = io.BytesIO()
    Image.fromarray(np.clip(np.asarray(large) + noise, 0, 255).astype(np.uint8)).save(file, "JPEG", quality=90)
    return file.getvalue()


def _plain(data: bytes, size: int) -> Any:
    with Image.open(io.BytesIO(data)) as picture:
        return np.asarray(picture.convert("L").resize((size, size), Image.Resampling.BILINEAR))


def _timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Milliseconds and result."""
    start = time.perf_counter()
    result = work()
    return (time.perf_counter() - start) * 1e3, result

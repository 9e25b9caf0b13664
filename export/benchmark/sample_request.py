"""The images that the benchmark sends, and the request to the Lambda entry."""

import base64
import io
import json
from pathlib import Path

import numpy as np
from PIL import Image

from export.benchmark.environment import ROOT

IMAGE = ROOT / "handler" / "page" / "phantom.png"
"""The synthetic chest X-ray that comes with the project."""

RADIOGRAPH_SIZE = (2000, 1700)
"""Width and height in pixels."""

_EVENT = Path(__file__).with_name("rest_event.json")


def write_event(folder: Path) -> Path:
    """Write an event of an API Gateway REST API with `IMAGE` in its body to `folder`, and return the file."""
    event = json.loads(_EVENT.read_text(encoding="utf-8"))
    event["body"] = base64.b64encode(IMAGE.read_bytes()).decode()
    path = folder / "event.json"
    path.write_text(json.dumps(event), encoding="utf-8")
    return path


def radiograph() -> bytes:
    """`IMAGE` at the size of a radiograph, with the noise of a detector, as JPEG."""
    width, height = RADIOGRAPH_SIZE
    with Image.open(IMAGE) as sample:
        large = sample.convert("L").resize((width, height), Image.Resampling.BICUBIC)
    noise = np.random.default_rng(0).normal(0, 4, (height, width))
    file = io.BytesIO()
    Image.fromarray(np.clip(np.asarray(large) + noise, 0, 255).astype(np.uint8)).save(file, "JPEG", quality=90)
    return file.getvalue()

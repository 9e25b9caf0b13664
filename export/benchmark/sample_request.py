"""The request that the benchmark sends to the Lambda entry."""

import base64
import json
from pathlib import Path

from export.benchmark.environment import ROOT

IMAGE = ROOT / "handler" / "page" / "phantom.png"
"""The synthetic chest X-ray that comes with the project."""

_EVENT = Path(__file__).with_name("rest_event.json")


def write_event(folder: Path) -> Path:
    """Write an event of an API Gateway REST API with `IMAGE` in its body to `folder`, and return the file."""
    event = json.loads(_EVENT.read_text(encoding="utf-8"))
    event["body"] = base64.b64encode(IMAGE.read_bytes()).decode()
    path = folder / "event.json"
    path.write_text(json.dumps(event), encoding="utf-8")
    return path

"""Lambda events, stored as AWS sends them."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass
class Context:
    """Lambda's context object."""

    aws_request_id: str = "8476a536-e9f4-11e8-9739-2dfe598c3fcd"
    function_name: str = "xray"
    memory_limit_in_mb: int = 1769
    invoked_function_arn: str = "arn:aws:lambda:eu-central-1:123456789012:function:xray"
    remaining_time_in_millis: int = 60_000

    def get_remaining_time_in_millis(self) -> int:
        return self.remaining_time_in_millis


def load(name: str, **changes: Any) -> dict[str, Any]:
    """One event, with some of its outermost keys replaced."""
    return json.loads((Path(__file__).parent / "events" / f"{name}.json").read_text()) | changes

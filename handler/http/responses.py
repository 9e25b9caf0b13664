"""Responses as bytes, built from plain dictionaries. The models in `handler.http.schemas` only describe them."""

import json
from typing import Any

from starlette.responses import Response

from handler.http.problems import MEDIA_TYPE


class ProblemResponse(Response):
    """An RFC 9457 problem."""

    media_type = MEDIA_TYPE

    def __init__(self, content: dict[str, Any], headers: dict[str, str] | None = None) -> None:
        super().__init__(encoded(content), status_code=content["status"], headers=headers)


def encoded(value: Any) -> bytes:
    """Encode compact JSON. A NaN, which JSON does not support, is a bug and raises an error."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False).encode()

"""From a request to the pictures in it, whichever of the ways in it takes."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

from starlette.requests import Request

from handler.errors import InputTooLarge, MalformedRequest, SlowRequest, UnsupportedMedia
from handler.http.multipart import FormReader
from handler.scoring import Source
from handler.settings import Settings
from handler.storage import Storage

MULTIPART = "multipart/form-data"
JSON = "application/json"
PICTURES = ("image/jpeg", "image/png", "image/webp", "image/bmp", "image/tiff", "image/gif", "application/dicom")
RAW = (*PICTURES, "application/octet-stream")
"""Content types of a bare file. They only say that it is one: of which kind is read off its content."""

_MAX_JSON_PUNCTUATION = 10_000
"""Base64 has none, so what has more is not one of our documents, and would take many times its size once parsed."""


async def read_sources(request: Request, settings: Settings, storage: Storage) -> list[Source]:
    """Read a request's body.

    Returns:
        The pictures in the order in which they were sent, at least one. What is wrong with one of several shows when
        that one is called.

    Raises:
        UnsupportedMedia, MalformedRequest, InputTooLarge, SlowRequest: see `handler.errors`.
    """
    content_type = request.headers.get("content-type", "")
    media_type = content_type.partition(";")[0].strip().lower()
    # No content type at all means unknown bytes (RFC 9110, 8.3).
    if media_type not in (MULTIPART, JSON, *RAW, ""):
        raise UnsupportedMedia(
            f"the content type is none of those taken here: send {MULTIPART}, {JSON}, or the bare file as one of "
            f"{', '.join(RAW)}"
        )
    if media_type == MULTIPART:
        form = FormReader(content_type, settings.max_items)
        async for chunk in _chunks(request, settings):
            form.feed(chunk)
        return [partial(_same, data) for data in form.finish()]
    body = b"".join([chunk async for chunk in _chunks(request, settings)])
    if media_type == JSON:
        return _from_json(body, settings, storage)
    return [partial(_same, body)]


async def read_json(request: Request, settings: Settings) -> Any:
    """Read and parse a JSON body; an empty one is an empty object."""
    body = b"".join([chunk async for chunk in _chunks(request, settings)])
    return _parsed(body) if body else {}


async def _chunks(request: Request, settings: Settings) -> AsyncIterator[bytes]:
    """The body as it arrives, cut off at the limits."""
    limit = settings.max_body_bytes
    too_large = f"the request's body has more than {limit:,} bytes: send fewer or smaller files" + (
        ", or see POST /v1/uploads" if settings.upload_bucket else ""
    )
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and (len(declared) > len(str(limit)) or int(declared) > limit):
        raise InputTooLarge(too_large)
    received = 0
    deadline = asyncio.get_running_loop().time() + settings.body_timeout_s
    stream = aiter(request.stream())
    while True:
        try:
            async with asyncio.timeout_at(deadline):
                chunk = await anext(stream)
        except StopAsyncIteration:
            return
        except TimeoutError as exc:
            raise SlowRequest(f"the body did not arrive within {settings.body_timeout_s} s: send it again") from exc
        received += len(chunk)
        if received > limit:
            raise InputTooLarge(too_large)
        yield chunk


def _from_json(body: bytes, settings: Settings, storage: Storage) -> list[Source]:
    document = _parsed(body)
    if isinstance(document, dict) and document.keys() == {"items"}:
        items = document["items"]
        if not isinstance(items, list) or not items:
            raise MalformedRequest("`items` must be a list of at least one object with `image` or `s3_uri`")
    else:
        items = [document]
    if len(items) > settings.max_items:
        raise InputTooLarge(f"there are {len(items)} items, the limit is {settings.max_items}: send several requests")
    return [_source(item, storage) for item in items]


def _source(item: Any, storage: Storage) -> Source:
    match item:
        case {"image": str(text)} if len(item) == 1:
            return partial(_from_base64, text)
        case {"s3_uri": str(uri)} if len(item) == 1:
            return partial(storage.read, uri)
    raise MalformedRequest(
        "expected an object with either `image` (base64) or `s3_uri` (s3://BUCKET/KEY), both strings"
    )


def _parsed(body: bytes) -> Any:
    if body.count(b"[") + body.count(b"{") + body.count(b",") > _MAX_JSON_PUNCTUATION:
        raise MalformedRequest("the JSON has far more parts than a request for predictions needs: see /openapi.json")
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as exc:
        raise MalformedRequest("the body is not JSON, though its content type says so: check its syntax") from exc


def _from_base64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError as exc:
        raise MalformedRequest(
            "`image` is not base64: encode the file's bytes in the standard alphabet with padding, without line breaks "
            "and without a data: prefix"
        ) from exc


def _same(data: bytes) -> bytes:
    return data

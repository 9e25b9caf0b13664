"""Read the images from a request: a form, a bare file, or JSON."""

import asyncio
import binascii
import io
import json
from collections.abc import Callable
from contextlib import aclosing
from functools import partial
from typing import Any, NamedTuple

from starlette.requests import Request

from handler.errors import InputTooLarge, MalformedRequest, SlowRequest, UnsupportedMedia
from handler.http.admission import Charge
from handler.http.multipart import FormReader
from handler.scoring import Source
from handler.settings import Settings
from handler.storage import Storage, parse_uri

MULTIPART = "multipart/form-data"
JSON = "application/json"
IMAGES = ("image/jpeg", "image/png", "image/webp", "image/bmp", "image/tiff", "image/gif", "application/dicom")
RAW = (*IMAGES, "application/octet-stream")
"""Content types of a bare file. The format is detected from the content, not from the content type."""

_MAX_JSON_PUNCTUATION = 10_000
"""Base64 has no punctuation, so a valid request has little. A document with more would take many times its size when
parsed."""

_NOT_BASE64 = (
    "`image` is not base64. Encode the file's bytes in the standard alphabet with padding, without line breaks and "
    "without a data: prefix."
)

UNCOUNTED_PIECES = 250
REQUIRED_PIECE_BYTES = 64
"""Each piece takes time, even a short one. After the first `UNCOUNTED_PIECES`, the pieces of a body must have at least
this many bytes on average."""

_GRACE_S = 5
"""Extra time for connections with a slow start."""


class Item(NamedTuple):
    """One image of a request.

    Args:
        source: raises the error of one image of several when it is called.
        filename: see `handler.http.multipart.FormFile`.
    """

    source: Source
    filename: str | None = None


async def read_items(request: Request, settings: Settings, storage: Storage, charge: Charge) -> list[Item]:
    """Read a request's body.

    Args:
        charge: see `AdmissionLimiter.admitted`.

    Returns:
        The images in the order of the request, at least one.

    Raises:
        UnsupportedMedia, MalformedRequest, InputTooLarge, SlowRequest, Overloaded: see `handler.errors`.
    """
    content_type = request.headers.get("content-type", "")
    media_type = content_type.partition(";")[0].strip().lower()
    # Without a content type, the body may be any bytes (RFC 9110, 8.3).
    if media_type not in (MULTIPART, JSON, *RAW, ""):
        raise UnsupportedMedia(f"Send {MULTIPART}, {JSON}, or the bare file as one of {', '.join(RAW)}.")
    if media_type == MULTIPART:
        form = FormReader(content_type, settings.max_items)
        await _receive(request, settings, charge, form.feed)
        return [Item(file.content.getvalue, file.name) for file in form.finish()]
    if media_type == JSON:
        return _from_json(_parsed(await _body(request, settings, charge)), settings, storage)
    return [Item(partial(_same, await _body(request, settings, charge)))]


async def read_json(request: Request, settings: Settings, charge: Charge) -> Any:
    """Read and parse a JSON body; an empty one is an empty object."""
    return _parsed(await _body(request, settings, charge) or b"{}")


async def _body(request: Request, settings: Settings, charge: Charge) -> bytes:
    body = io.BytesIO()  # its `getvalue` does not copy
    await _receive(request, settings, charge, body.write)
    return body.getvalue()


async def _receive(request: Request, settings: Settings, charge: Charge, keep: Callable[[bytes], object]) -> None:
    """Pass each piece of the body to `keep`, as long as the body is within the limits."""
    limit = settings.max_body_bytes
    too_large = f"The body has more than {limit:,} bytes. Send fewer or smaller files" + (
        ", or see POST /v1/uploads." if settings.upload_bucket else "."
    )
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and (len(declared) > len(str(limit)) or int(declared) > limit):
        raise InputTooLarge(too_large)
    received = pieces = 0
    begin = asyncio.get_running_loop().time()
    async with aclosing(request.stream()) as stream:
        while True:
            allowed_s = min(settings.body_timeout_s, _GRACE_S + received / settings.min_bytes_per_s)
            try:
                async with asyncio.timeout_at(begin + allowed_s):
                    chunk = await anext(stream)
            except StopAsyncIteration:
                return
            except TimeoutError as exc:
                raise SlowRequest(
                    f"The body did not arrive within {settings.body_timeout_s} s, or at less than "
                    f"{settings.min_bytes_per_s:,} bytes per second. Send it again."
                ) from exc
            received += len(chunk)
            pieces += 1
            if received > limit:
                raise InputTooLarge(too_large)
            if pieces > UNCOUNTED_PIECES and received < pieces * REQUIRED_PIECE_BYTES:
                raise MalformedRequest("The body arrives in too many small pieces. Send it in larger ones.")
            charge(len(chunk))
            keep(chunk)


def _from_json(document: Any, settings: Settings, storage: Storage) -> list[Item]:
    if isinstance(document, dict) and document.keys() == {"items"}:
        items = document["items"]
        if not isinstance(items, list) or not items:
            raise MalformedRequest("`items` must be a list of at least one object with `image` or `s3_uri`.")
    else:
        items = [document]
    if len(items) > settings.max_items:
        raise InputTooLarge(f"There are {len(items)} items, the limit is {settings.max_items}. Send several requests.")
    return [Item(_source(item, storage)) for item in items]


def _source(item: Any, storage: Storage) -> Source:
    match item:
        case {"image": str(text)} if len(item) == 1:
            # The text waits in memory for its turn, where a character that is not ASCII would make it up to four times
            # as large.
            return partial(_from_base64, text) if text.isascii() else partial(_fail, _NOT_BASE64)
        case {"s3_uri": str(uri)} if len(item) == 1:
            try:
                parse_uri(uri)  # so that a long one is not kept
            except MalformedRequest as exc:
                return partial(_fail, str(exc))
            return partial(storage.read, uri)
    raise MalformedRequest(
        "Send an object with either `image` (base64) or `s3_uri` (s3://BUCKET/KEY), both strings, or with `items`, a "
        "list of such objects."
    )


def _parsed(body: bytes) -> Any:
    if body.count(b"[") + body.count(b"{") + body.count(b",") > _MAX_JSON_PUNCTUATION:
        raise MalformedRequest("The JSON has far more parts than a request for predictions needs. See /openapi.json.")
    try:
        text = body.decode("utf-8-sig")
        del body  # frees memory for the parsed document
        return json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise MalformedRequest("The body is not JSON in UTF-8. Check its syntax and its encoding.") from exc


def _from_base64(text: str) -> bytes:
    try:
        return binascii.a2b_base64(text, strict_mode=True)  # `base64.b64decode` would copy the text first
    except ValueError as exc:
        raise MalformedRequest(_NOT_BASE64) from exc


def _fail(detail: str) -> bytes:
    raise MalformedRequest(detail)


def _same(data: bytes) -> bytes:
    return data

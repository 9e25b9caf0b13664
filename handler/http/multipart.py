"""Multipart forms, taken apart in memory as their bytes arrive: no picture of a patient touches a disk."""

import logging

import python_multipart
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header

from handler.errors import InputTooLarge, MalformedRequest

FILE_PART = "file"

# It writes a warning, with a byte of the form, for what is raised as well.
logging.getLogger("python_multipart").setLevel(logging.CRITICAL)


class FormReader:
    """Collects the parts called `file`, in their order.

    Args:
        content_type: the request's header, which holds the boundary.
        max_items: most parts to take.

    Raises:
        MalformedRequest, InputTooLarge: from every method, as soon as the bytes say so.
    """

    def __init__(self, content_type: str, max_items: int) -> None:
        self._max_items = max_items
        self._files: list[bytearray] = []
        self._name = b""
        self._value = b""
        self._disposition = b""
        self._ended = False
        boundary = parse_options_header(content_type)[1].get(b"boundary")
        if not boundary:
            raise MalformedRequest("the content type names no boundary: let your HTTP client write that header")
        try:
            self._parser = python_multipart.MultipartParser(
                boundary,
                {
                    "on_part_begin": self._begin_part,
                    "on_header_field": self._add_to_name,
                    "on_header_value": self._add_to_value,
                    "on_header_end": self._end_header,
                    "on_headers_finished": self._open_file,
                    "on_part_data": self._add_data,
                    "on_end": self._end,
                },
            )
        except FormParserError as exc:
            raise _malformed(exc) from exc

    def feed(self, chunk: bytes) -> None:
        try:
            self._parser.write(chunk)
        except FormParserError as exc:
            raise _malformed(exc) from exc

    def finish(self) -> list[bytes]:
        """The files, once the whole body has been fed."""
        try:
            self._parser.finalize()
        except FormParserError as exc:
            raise _malformed(exc) from exc
        if not self._ended:
            raise MalformedRequest("the form breaks off before its closing boundary: send all of it")
        if not self._files:
            raise MalformedRequest(f"the form holds no file: send one or more parts called {FILE_PART!r}")
        return [bytes(file) for file in self._files]

    def _begin_part(self) -> None:
        self._disposition = b""

    def _add_to_name(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _add_to_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _end_header(self) -> None:
        if self._name.lower() == b"content-disposition":
            self._disposition = self._value
        self._name = self._value = b""

    def _open_file(self) -> None:
        name = parse_options_header(self._disposition)[1].get(b"name")
        if name != FILE_PART.encode():
            raise MalformedRequest(f"the form has a part that is not called {FILE_PART!r}: rename it, or leave it out")
        if len(self._files) == self._max_items:
            raise InputTooLarge(f"the form has more than {self._max_items} files: send several requests")
        self._files.append(bytearray())

    def _add_data(self, data: bytes, start: int, end: int) -> None:
        self._files[-1] += memoryview(data)[start:end]

    def _end(self) -> None:
        self._ended = True


def _malformed(exc: FormParserError) -> MalformedRequest:
    return MalformedRequest(f"the form cannot be taken apart ({exc}): let your HTTP client build it")

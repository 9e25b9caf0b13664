"""Parse multipart forms in memory while their bytes arrive, so that no image of a patient is written to disk."""

import io
import logging
from dataclasses import dataclass, field

import python_multipart
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header

from handler.errors import InputTooLarge, MalformedRequest

FILE_PART = "file"

LONGEST_NAME = 255
"""Characters of a file's name that are kept, as file systems do."""

# For each error that it raises, it also logs a warning with a byte of the form.
logging.getLogger("python_multipart").setLevel(logging.CRITICAL)


@dataclass(frozen=True, slots=True)
class FormFile:
    """A file of a form.

    Args:
        name: the file's name as printable text, without folders; None if the client sent none. It may name a patient,
            so it must not be logged.
    """

    name: str | None
    content: io.BytesIO = field(default_factory=io.BytesIO)


class FormReader:
    """Collects the parts named `file`, in their order.

    Args:
        content_type: the request's header, which contains the boundary.
        max_items: maximum number of parts.

    Raises:
        MalformedRequest, InputTooLarge: by every method, as soon as the bytes show the error.
    """

    def __init__(self, content_type: str, max_items: int) -> None:
        # A separate object: this one would form a reference cycle with its parser, which would keep the files in
        # memory.
        self._parts = parts = _Parts(max_items)
        boundary = parse_options_header(content_type)[1].get(b"boundary")
        if not boundary:
            raise MalformedRequest("The content type has no boundary. Let your HTTP client write this header.")
        try:
            self._parser = python_multipart.MultipartParser(
                boundary,
                {
                    "on_part_begin": parts.begin,
                    "on_header_field": parts.add_to_name,
                    "on_header_value": parts.add_to_value,
                    "on_header_end": parts.end_header,
                    "on_headers_finished": parts.open_file,
                    "on_part_data": parts.add_data,
                    "on_end": parts.end,
                },
            )
        except FormParserError as exc:
            raise _malformed(exc) from exc

    def feed(self, chunk: bytes) -> None:
        try:
            self._parser.write(chunk)
        except FormParserError as exc:
            raise _malformed(exc) from exc

    def finish(self) -> list[FormFile]:
        """The files, once the whole body has been fed."""
        try:
            self._parser.finalize()
        except FormParserError as exc:
            raise _malformed(exc) from exc
        if not self._parts.ended:
            raise MalformedRequest("The form ends before its closing boundary. Send all of it.")
        if not self._parts.files:
            raise MalformedRequest(f"The form has no file. Send one or more parts called {FILE_PART!r}.")
        return self._parts.files


class _Parts:
    """The parts that the parser has found so far."""

    def __init__(self, max_items: int) -> None:
        self._max_items = max_items
        self._name = b""
        self._value = b""
        self._disposition = b""
        self.files: list[FormFile] = []
        self.ended = False

    def begin(self) -> None:
        self._disposition = b""

    def add_to_name(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def add_to_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def end_header(self) -> None:
        if self._name.lower() == b"content-disposition":
            self._disposition = self._value
        self._name = self._value = b""

    def open_file(self) -> None:
        options = parse_options_header(self._disposition)[1]
        if options.get(b"name") != FILE_PART.encode():
            raise MalformedRequest(f"The form has a part that is not called {FILE_PART!r}. Rename it, or leave it out.")
        if len(self.files) == self._max_items:
            raise InputTooLarge(f"The form has more than {self._max_items} files. Send several requests.")
        self.files.append(FormFile(_file_name(options.get(b"filename", b""))))

    def add_data(self, data: bytes, start: int, end: int) -> None:
        self.files[-1].content.write(memoryview(data)[start:end])

    def end(self) -> None:
        self.ended = True


def _file_name(sent: bytes) -> str | None:
    name = sent.decode("utf-8", "replace").replace("\\", "/").rpartition("/")[2]
    return "".join(filter(str.isprintable, name))[:LONGEST_NAME].strip() or None


def _malformed(exc: FormParserError) -> MalformedRequest:
    return MalformedRequest(f"The form cannot be parsed ({exc}). Let your HTTP client make it.")

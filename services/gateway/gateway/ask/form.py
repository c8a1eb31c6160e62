"""Multipart forms, parsed and serialised again, so that upstream reads the same fields as the gateway."""

import logging
import re
from collections.abc import Container, Mapping
from dataclasses import dataclass, field

import httpx
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from ..errors import InvalidRequest
from .fields import Fields

# It warns about every malformed form, with which clients could flood the log.
logging.getLogger("python_multipart").setLevel(logging.ERROR)

# A transcription form has eight fields.
MAX_PARTS = 50

FIELD_NAME = re.compile(r"[\w.\[\]-]{1,64}", re.ASCII)


@dataclass
class Part:
    headers: dict[str, str] = field(default_factory=dict)
    content: bytes = b""

    def read(self) -> tuple[str, tuple[str | None, bytes]]:
        """Field name, and file name (or None) with content. Raises InvalidRequest."""
        _, options = parse_options_header(self.headers.get("content-disposition"))
        name = options.get(b"name", b"").decode("latin-1")
        if not FIELD_NAME.fullmatch(name) or "content-transfer-encoding" in self.headers:
            raise InvalidRequest("the form has a part that is not a named field of plain data")
        # Parsers treat an empty file name as no file.
        filename = options.get(b"filename", b"").decode(errors="replace") or None
        return name, (filename, self.content)


class Form:
    """A parsed multipart form. Raises InvalidRequest if it is malformed."""

    def __init__(self, body: bytes, media_type: str) -> None:
        kind, options = parse_options_header(media_type)
        if kind != b"multipart/form-data" or b"boundary" not in options:
            raise InvalidRequest("the request body is not a form; send multipart/form-data")
        self._parts = [part.read() for part in _parts(body, options[b"boundary"])]
        if not self._parts:
            raise InvalidRequest("the form has no fields")

    @property
    def fields(self) -> Fields:
        """The fields that are not files. Raises InvalidRequest."""
        texts = [(name, content) for name, (filename, content) in self._parts if filename is None]
        try:
            return Fields(b"", [(name, content.decode()) for name, content in texts])
        except UnicodeDecodeError:
            raise InvalidRequest("a field of the form is not valid UTF-8") from None

    def replace(self, names: Mapping[str, str], fields: Container[str]) -> None:
        """Replace values of fields that are not files."""
        for number, (name, (filename, content)) in enumerate(self._parts):
            if filename is None and name.casefold() in fields:
                value = content.decode()
                self._parts[number] = name, (None, names.get(value, value).encode())

    def serialised(self) -> tuple[bytes, str]:
        """The form to send upstream, with its media type."""
        request = httpx.Request("POST", "http://upstream", files=self._parts)
        return request.read(), request.headers["content-type"]


def _parts(body: bytes, boundary: bytes) -> list[Part]:
    reader = _Reader()
    try:
        reader.parser(boundary).write(body)
    except FormParserError as error:
        raise InvalidRequest(f"the form is malformed: {error}") from None
    if not reader.complete:
        raise InvalidRequest("the form ends before its last boundary")
    return reader.parts


class _Reader:
    """Callbacks of the parser."""

    def __init__(self) -> None:
        self.parts: list[Part] = []
        self.complete = False
        self._name, self._value, self._content = bytearray(), bytearray(), bytearray()

    def parser(self, boundary: bytes) -> MultipartParser:
        return MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin,
                "on_header_field": lambda data, start, end: self._name.extend(data[start:end]),
                "on_header_value": lambda data, start, end: self._value.extend(data[start:end]),
                "on_header_end": self._end_header,
                "on_part_data": lambda data, start, end: self._content.extend(data[start:end]),
                "on_part_end": self._end,
                "on_end": self._end_form,
            },
        )

    def _begin(self) -> None:
        self.parts.append(Part())
        if len(self.parts) > MAX_PARTS:
            raise InvalidRequest(f"the form has more than {MAX_PARTS} parts")

    def _end_header(self) -> None:
        self.parts[-1].headers[self._name.decode("latin-1").lower()] = self._value.decode("latin-1")
        self._name.clear()
        self._value.clear()

    def _end(self) -> None:
        self.parts[-1].content = bytes(self._content)
        self._content.clear()

    def _end_form(self) -> None:
        self.complete = True

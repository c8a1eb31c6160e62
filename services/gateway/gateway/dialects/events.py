"""Server-Sent Events as Ollama writes them for OpenAI's and Anthropic's clients: one `data` line an event."""

from typing import Any

from .splitter import EVENT
from .stream import Stream, parsed

# What an event's lines may begin with.
FIELDS = (b"data:", b"event:", b"id:", b"retry:", b":")


class EventStream(Stream):
    separator = EVENT

    def is_plausible(self, unit: bytes) -> bool:
        return unit.lstrip().startswith(FIELDS)

    def is_whole(self, unit: bytes) -> bool:
        return data_of(unit) == b"[DONE]" or fields_of(unit) is not None


def data_of(event: bytes) -> bytes:
    for line in event.split(b"\n"):
        if line.startswith(b"data:"):
            return line[5:].strip()
    return b""


def name_of(event: bytes) -> bytes:
    for line in event.split(b"\n"):
        if line.startswith(b"event:"):
            return line[6:].strip()
    return b"message"


def fields_of(event: bytes) -> dict[str, Any] | None:
    return parsed(data_of(event))

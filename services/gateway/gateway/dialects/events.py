"""Server-Sent Events as Ollama writes them for OpenAI's and Anthropic's clients.

https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation
"""

import json
from typing import Any, TypeVar

import msgspec

from ..errors import UpstreamFailed
from .decoding import decoded, parsed
from .splitter import EVENT, EventSplitter
from .stream import Stream

# Valid beginnings of an event's lines.
FIELDS = (b"data", b"event", b"id", b"retry", b":")
DATA = b"data: "
DONE = b"[DONE]"

Decoded = TypeVar("Decoded")


class EventStream(Stream):
    separator = EVENT

    def new_splitter(self, max_unit_bytes: int) -> EventSplitter:
        return EventSplitter(max_unit_bytes)

    def is_whole(self, unit: bytes) -> bool:
        data = data_of(unit)
        return data == DONE or parsed(data) is not None

    def read(self, decoder: msgspec.json.Decoder[Decoded], event: bytes) -> Decoded | None:
        """Decode an event's data; None if it has none. Fails the stream if it is malformed."""
        at = event.find(DATA)
        if at == 0 or event[at - 1 : at] == b"\n":
            # Upstream's usual form: a single data line, the last of the event.
            value = decoded(decoder, event[at + len(DATA) :])
            if value is not None:
                return value
        data = data_of(event)
        value = decoded(decoder, data)
        if value is None and (data or not event.lstrip().startswith(FIELDS)):
            self.fail(UpstreamFailed("upstream sent an event that is not a JSON object in UTF-8"))
        return value


def named_event(fields: dict[str, Any]) -> bytes:
    """An event with the name that is also its data's `type`."""
    return b"event: %b\ndata: %b\n\n" % (fields["type"].encode(), json.dumps(fields).encode())


def data_of(event: bytes) -> bytes:
    return b"\n".join(_values(event, b"data"))


def name_of(event: bytes) -> bytes:
    return (_values(event, b"event") or [b"message"])[-1]


def _values(event: bytes, name: bytes) -> list[bytes]:
    parts = (line.partition(b":") for line in event.split(b"\n"))
    return [value.removeprefix(b" ") for field, _, value in parts if field == name]

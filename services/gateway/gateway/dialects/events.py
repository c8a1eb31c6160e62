"""Server-Sent Events as Ollama writes them for OpenAI's and Anthropic's clients.

https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation
"""

from typing import TypeVar

import msgspec

from ..errors import UpstreamFailed
from .decoding import decoded, parsed
from .splitter import EVENT, EventSplitter
from .stream import Stream

# What an event's lines may begin with.
FIELDS = (b"data", b"event", b"id", b"retry", b":")
DATA = b"data: "
DONE = b"[DONE]"

Said = TypeVar("Said")


class EventStream(Stream):
    separator = EVENT

    def new_splitter(self, max_unit_bytes: int) -> EventSplitter:
        return EventSplitter(max_unit_bytes)

    def is_whole(self, unit: bytes) -> bool:
        data = data_of(unit)
        return data == DONE or parsed(data) is not None

    def read(self, decoder: msgspec.json.Decoder[Said], event: bytes) -> Said | None:
        """What an event says; None if it has no data. Fails the stream if it cannot be read."""
        at = event.find(DATA)
        if at == 0 or event[at - 1 : at] == b"\n":
            # As upstream writes it: one line of data, which is the last one.
            said = decoded(decoder, event[at + len(DATA) :])
            if said is not None:
                return said
        data = data_of(event)
        said = decoded(decoder, data)
        if said is None and (data or not event.lstrip().startswith(FIELDS)):
            self.fail(UpstreamFailed("upstream sent an event that is not a JSON object in UTF-8"))
        return said


def data_of(event: bytes) -> bytes:
    return b"\n".join(_values(event, b"data"))


def name_of(event: bytes) -> bytes:
    return (_values(event, b"event") or [b"message"])[-1]


def _values(event: bytes, name: bytes) -> list[bytes]:
    parts = (line.partition(b":") for line in event.split(b"\n"))
    return [value.removeprefix(b" ") for field, _, value in parts if field == name]

"""The events of an answer as a client reads them."""

from typing import NamedTuple


class Event(NamedTuple):
    """`id` and `name` are empty if the event has none."""

    id: str
    name: str
    data: str


def events(body: bytes) -> list[Event]:
    """The events of a stream; comments and empty ones, such as `retry`, are left out."""
    found = []
    for block in body.decode().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.split("\n") if line and not line.startswith(":"))
        if "data" in fields:
            found.append(Event(fields.get("id", ""), fields.get("event", ""), fields["data"]))
    return found


def numbered(body: bytes) -> list[Event]:
    """Those that are part of the answer, and not about it."""
    return [event for event in events(body) if event.id]

"""Asks one question through the public port and notes when each event arrived."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import httpx


class ProbeFailed(Exception):
    """No complete answer; the message gives the reason."""


@dataclass
class Event:
    """One event; `arrived` is in seconds since the request was sent."""

    arrived: float
    id: int | None
    name: str
    data: dict[str, Any]

    @property
    def generated(self) -> float | None:
        """Creation time, in seconds of the model server's clock; None if unknown."""
        stamp = self.data.get("created_at")
        return _timestamp(stamp) if isinstance(stamp, str) else None

    @property
    def text(self) -> str:
        message = self.data.get("message")
        return str(message.get("content", "")) if isinstance(message, dict) else ""


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    events: list[Event] = field(default_factory=list)


def ask(client: httpx.Client, request: dict[str, Any], show: Callable[[str], None]) -> Answer:
    """Sends `request` to /chat and calls `show` with each piece of text as it arrives. Raises ProbeFailed."""
    started = time.perf_counter()
    try:
        with client.stream("POST", "/chat", json=request) as response:
            if response.status_code != 200:
                response.read()
                raise ProbeFailed(f"POST /chat answered {response.status_code}: {response.text[:300]}")
            answer = Answer(response.status_code, dict(response.headers))
            rest = b""
            # Not with an SSE library, which would hide which events arrived in the same read.
            for piece in response.iter_bytes():
                arrived = time.perf_counter() - started
                *blocks, rest = (rest + piece).split(b"\n\n")
                for block in blocks:
                    event = _event(block.decode(), arrived)
                    if event and event.name != "status":
                        answer.events.append(event)
                        show(event.text)
    except httpx.HTTPError as error:
        raise ProbeFailed(f"the answer was interrupted: {error or type(error).__name__}") from error
    return answer


def _event(block: str, arrived: float) -> Event | None:
    """One event of a stream; None for a comment."""
    fields = dict(line.split(": ", 1) for line in block.split("\n") if ": " in line and line[0] != ":")
    if "data" not in fields:
        return None
    number = fields.get("id")
    return Event(
        arrived, int(number) if number else None, fields.get("event", "message"), json.loads(fields["data"])
    )


def _timestamp(stamp: str) -> float:
    """RFC 3339 with up to nanoseconds, which is more than datetime reads."""
    whole, _, fraction = stamp.rstrip("Z").partition(".")
    digits = fraction.split("+")[0].split("-")[0]
    zone = fraction[len(digits) :] or "+00:00"
    return datetime.fromisoformat(whole + zone).timestamp() + float(f"0.{digits or 0}")

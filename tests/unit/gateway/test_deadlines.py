"""What is due next, without a clock: from what generation and delivery know."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from gateway.settings import Settings
from gateway.streaming.deadlines import Deadlines, Due

LIMITS = Settings(
    early_commit=2,
    heartbeat=15,
    first_byte_timeout=600,
    idle_timeout=120,
    send_timeout=60,
    max_answer_seconds=900,
    ollama_url="http://x",
)
START = 1000.0


def due(
    *,
    last_in: float | None = START,
    asked_at: float | None = START,
    accepted_at: float | None = START,
    answering: bool = False,
    heartbeat: bytes = b":",
    committed: bool = False,
    sending_since: float | None = None,
    complete: bool = False,
    delivered: bool = False,
    waits: bool = False,
    shows_status: bool = True,
    max_answer_seconds: float = 900,
) -> Due:
    """Of an answer that was accepted at START, and whose client was sent nothing since."""
    dialect = SimpleNamespace(heartbeat=heartbeat, shows_status=shows_status)
    generation = SimpleNamespace(
        dialect=dialect,
        answering=answering,
        last_in=last_in,
        asked_at=asked_at,
        accepted_at=accepted_at,
        status=waits,
    )
    delivery = SimpleNamespace(
        complete=complete,
        delivered=delivered,
        sending_since=sending_since,
        committed=committed,
        last_out=START,
        status_at=START,
    )
    limits = LIMITS.model_copy(update={"max_answer_seconds": max_answer_seconds})
    return Deadlines(limits).next(cast(Any, generation), cast(Any, delivery), START + 1)


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        ({}, Due(START + 2, "heartbeat")),
        ({"accepted_at": None, "asked_at": None, "last_in": None}, Due(START + 3, "nothing")),
        ({"committed": True}, Due(START + 15, "heartbeat")),
        ({"committed": True, "answering": True, "last_in": START - 110}, Due(START + 10, "upstream timeout")),
        ({"last_in": START - 599}, Due(START + 1, "upstream timeout")),
        ({"heartbeat": b""}, Due(START + 600, "upstream timeout")),
        ({"heartbeat": b"", "answering": True}, Due(START + 120, "upstream timeout")),
        ({"heartbeat": b"", "asked_at": None, "last_in": None}, Due(float("inf"), "upstream timeout")),
        ({"sending_since": START, "last_in": START - 1000}, Due(START + 60, "send timeout")),
        ({"waits": True, "last_in": None}, Due(START + 2, "heartbeat")),
        ({"waits": True, "last_in": None, "committed": True}, Due(START + 1, "status")),
        ({"waits": True, "shows_status": False, "committed": True}, Due(START + 15, "heartbeat")),
        ({"delivered": True, "last_in": START - 1000}, Due(START + 2, "nothing")),
        ({"answering": True, "asked_at": START - 899.5}, Due(START + 0.5, "answer too long")),
        ({"heartbeat": b"", "asked_at": START - 800}, Due(START + 100, "answer too long")),
        ({"sending_since": START, "asked_at": START - 899}, Due(START + 1, "answer too long")),
        (
            {"sending_since": START, "asked_at": START - 899, "complete": True},
            Due(START + 60, "send timeout"),
        ),
        ({"asked_at": START - 9000, "max_answer_seconds": 0}, Due(START + 2, "heartbeat")),
    ],
)
def test_the_earliest_is_due(known: dict[str, Any], expected: Due) -> None:
    assert due(**known) == expected

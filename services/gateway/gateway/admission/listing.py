"""The turns as `/queue` shows them."""

import time
from collections.abc import Sequence
from typing import Any

from ..errors import AnswerStopped
from .turn import Turn

Row = dict[str, Any]
Listing = tuple[list[Row], list[Row]]


def listed(turns: Sequence[Turn], identity: str | None) -> Listing:
    """The turns that run, and those that wait, of one caller or, with None, of all; times are in seconds."""
    seen = [turn for turn in turns if identity in {None, turn.caller}]
    running = [_running(turn) for turn in seen if turn.started is not None]
    waiting = [_waiting(turn) for turn in seen if turn.started is None]
    return running, waiting


def merged(listings: Sequence[Listing]) -> Listing:
    """Those of several gateways: what runs by its age, what waits by its place among those for its model."""
    running = [row for rows, _ in listings for row in rows]
    waiting = [row for _, rows in listings for row in rows]
    running.sort(key=lambda row: -float(row["age_seconds"]))
    waiting.sort(key=lambda row: (int(row.get("position", 0)), -float(row["waited_seconds"])))
    return running, waiting


def stop(turns: Sequence[Turn], request_id: str, identity: str | None, by: str) -> int:
    """End what has the id, of one caller or, with None, of all; `by` is the identity of whoever wants it.
    Returns how many there were: clients choose the ids, and may use one twice.
    """
    found = [turn for turn in turns if turn.request_id == request_id and identity in {None, turn.caller}]
    for turn in found:
        who = "by its caller" if turn.caller == by else "by an admin"
        turn.stop(AnswerStopped(f"the answer was stopped {who}"))
    return len(found)


def _running(turn: Turn) -> Row:
    age = time.monotonic() - (turn.started or turn.entered)
    return {**_common(turn), "age_seconds": round(age, 1), "output_tokens": turn.tokens().output}


def _waiting(turn: Turn) -> Row:
    standing = turn.standing._asdict() if turn.standing else {}
    return {**_common(turn), "waited_seconds": round(time.monotonic() - turn.entered, 1), **standing}


def _common(turn: Turn) -> Row:
    return {"request_id": turn.request_id, "caller": turn.caller, "model": turn.model}

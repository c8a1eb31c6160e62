"""The log of an answer is read in whole events."""

import random

import pytest

from gateway.answers.event_log import EventLog


@pytest.mark.parametrize("most", [1, 2, 3, 10, 64, 1000])
def test_pieces_are_whole_events_and_together_all_of_them(most: int) -> None:
    chance = random.Random(most)
    log = EventLog()
    events = [b"id: %d\ndata: %b\n\n" % (at, b"x" * chance.randint(0, 100)) for at in range(200)]
    for event in events:
        log.append(event)
    log.forget(len(b"".join(events[:5])))
    position, pieces = log.start, []
    while piece := log.events(position, most):
        assert piece.endswith(b"\n\n")
        assert len(piece) <= max(most, max(map(len, events)))
        assert len(piece) <= most or piece.count(b"\n\n") == 1
        pieces.append(piece)
        position += len(piece)
    assert b"".join(pieces) == b"".join(events[5:])

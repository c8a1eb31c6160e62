"""sluice.js reads event streams as the WHATWG standard says, wherever they are split."""

import json
import random
from typing import Any

import pytest

from tests.browser.node import read
from tests.fakes.ollama import DONE, line

WORDS = ["Hello", " \u2028wörld\r\n", " 🎈", "", " data: x\n\nid: 9", " end"]
LINES = [*(line(word).strip() for word in WORDS), DONE.strip()]
STREAM = b": keep-alive\n\n" + b"".join(
    b"id: %d\ndata: %b\n\n" % (number, text) for number, text in enumerate(LINES, 1)
)


def texts(answer: dict[str, Any]) -> list[str]:
    return [event["text"] for event in answer["events"] if event["type"] == "chunk"]


def one(stream: bytes) -> dict[str, Any]:
    [answer] = read([[[stream]]])
    return answer


def test_an_answer_in_one_piece_is_read() -> None:
    answer = one(STREAM)
    assert [event["type"] for event in answer["events"]] == ["accepted", *["chunk"] * len(WORDS), "done"]
    assert texts(answer) == WORDS
    assert [event["id"] for event in answer["events"][1:]] == list(range(1, len(LINES) + 1))
    assert answer["events"][1]["data"] == json.loads(LINES[0])
    assert answer["events"][-1]["data"]["done"] is True


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"], ids=["LF", "CRLF", "CR"])
def test_every_split_is_read_as_one_piece_is(end: bytes) -> None:
    stream, chance = STREAM.replace(b"\n", end), random.Random(16)
    splits = [[stream[:place], stream[place:]] for place in range(1, len(stream))]
    splits.append([bytes([byte]) for byte in stream])
    for _ in range(100):
        places = sorted(chance.sample(range(1, len(stream)), chance.randint(2, 40)))
        splits.append([stream[a:b] for a, b in zip([0, *places], [*places, len(stream)], strict=True)])
    wanted = [(event["type"], event.get("id"), event.get("text")) for event in one(STREAM)["events"]]
    for pieces, answer in zip(splits, read([[pieces] for pieces in splits]), strict=True):
        got = [(event["type"], event.get("id"), event.get("text")) for event in answer["events"]]
        assert got == wanted, pieces


FIRST, LAST = LINES[0], DONE.strip()
END = b"id: 2\ndata: %b\n\n" % LAST
# Ways to write the event with FIRST.
WAYS = {
    "a space after the colon": b"id: 1\ndata: %b\n\n" % FIRST,
    "no space after the colon": b"id:1\ndata:%b\n\n" % FIRST,
    "ends of lines of every kind": b"id: 1\rdata: %b\r\n\n" % FIRST,
    "CR between CRLF": b"id: 1\r\ndata: %b\r\r\n" % FIRST,
    "a byte order mark before it": b"\xef\xbb\xbfid: 1\ndata: %b\n\n" % FIRST,
    "a comment within it": b"id: 1\n: comment\n:\ndata: %b\n\n" % FIRST,
    "comments before it": b": one\n\n:two\n\nid: 1\ndata: %b\n\n" % FIRST,
    "several lines of data": b"id: 1\ndata: %b,\ndata: %b\n\n" % tuple(FIRST.split(b",", 1)),
    "a field without a colon": b"data\nid: 1\ndata: %b\n\n" % FIRST,
    "an unknown field": b"id: 1\nfoo: bar\ndata: %b\n\n" % FIRST,
    "a field in capitals, which is unknown": b"id: 1\nDATA: {}\ndata: %b\n\n" % FIRST,
    "a field after spaces, which is unknown": b"id: 1\n data: {}\ndata: %b\n\n" % FIRST,
    "the data before the id": b"data: %b\nid: 1\n\n" % FIRST,
    "the event's own name": b"event: message\nid: 1\ndata: %b\n\n" % FIRST,
    "an empty name": b"event\nid: 1\ndata: %b\n\n" % FIRST,
    "a retry time": b"retry: 1000\n\nid: 1\ndata: %b\n\n" % FIRST,
    "a retry time that is none": b"retry: soon\n\nid: 1\ndata: %b\n\n" % FIRST,
    "an event without data before it": b"event: error\n\nid: 1\ndata: %b\n\n" % FIRST,
}


@pytest.mark.parametrize("way", WAYS)
def test_an_event_may_be_written_with(way: str) -> None:
    stream = WAYS[way] + END
    for answer in read([[[stream]], [[bytes([byte]) for byte in stream]]]):
        assert texts(answer) == ["Hello"]
        assert [event.get("id") for event in answer["events"][1:]] == [1, 2]


def test_an_event_that_is_not_ended_is_not_read() -> None:
    answer = one(STREAM + b"id: 8\ndata: %b" % FIRST)
    assert texts(answer) == WORDS
    lost = one(b"id: 1\ndata: %b\n\nid: 2\ndata: %b\n" % (FIRST, LAST))
    assert texts(lost) == ["Hello"]
    assert lost["events"][-1]["type"] == "thrown"


def test_an_id_with_a_null_character_is_ignored() -> None:
    first = b"id: 1\ndata: %b\n\nid: 7\0\n\n" % FIRST
    [answer] = read([[[first], [END]]])
    assert answer["asked"] == [None, "1"]
    assert [event.get("id") for event in answer["events"] if event["type"] in ("chunk", "done")] == [1, 2]


def test_an_answer_goes_on_after_the_last_event_that_was_complete() -> None:
    place = STREAM.index(b"id: 4")
    for cut, seen in ((place, 3), (place - 1, 2), (place + 9, 3)):
        rest = STREAM[STREAM.index(b"id: %d\n" % (seen + 1)) :]
        [answer] = read([[[STREAM[:cut]], [b"retry: 1000\n\n" + rest]]])
        assert texts(answer) == WORDS
        assert answer["asked"] == [None, str(seen)]


def test_an_event_that_comes_twice_is_read_once() -> None:
    """A server or something before it may repeat what was read."""
    cut = STREAM.index(b"id: 4")
    [answer] = read([[[STREAM[:cut]], [STREAM]]])
    assert texts(answer) == WORDS


def test_an_event_that_is_missing_is_an_error() -> None:
    [answer] = read([[[STREAM[: STREAM.index(b"id: 3")]], [STREAM[STREAM.index(b"id: 5") :]]]])
    assert answer["events"][-1]["type"] == "thrown"

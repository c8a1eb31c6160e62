"""Whatever upstream's bytes look like, an answer ends once: they are read, not guessed at."""

import json
from itertools import pairwise
from typing import Any

import pytest

from gateway.dialects.anthropic import Messages
from gateway.dialects.chat_sse import ChatSSE
from gateway.dialects.ollama import Ndjson, Progress
from gateway.dialects.openai import Completions, Responses
from gateway.dialects.stream import Stream
from gateway.dialects.whole import Whole
from gateway.errors import UpstreamFailed
from tests.fakes.answers import ANSWERS
from tests.fakes.ollama import DONE, line

LINES: list[type[Stream]] = [ChatSSE, Ndjson]
EVENTS: list[type[Stream]] = [Completions, Responses, Messages]
DIALECTS = [*LINES, *EVENTS]
every_dialect = pytest.mark.parametrize("dialect", DIALECTS)
every_line = pytest.mark.parametrize("dialect", LINES)
every_event = pytest.mark.parametrize("dialect", EVENTS)


def fed(dialect: type[Stream], *pieces: bytes) -> Stream:
    stream = dialect(1_000_000)
    for piece in pieces:
        if not stream.ended:
            stream.feed(piece)
    return stream


def spaced(data: bytes) -> bytes:
    """The same JSON with white space around everything."""
    return data.replace(b'":', b'" : ').replace(b",", b" , ").replace(b"{", b"{ ").replace(b"}", b" }")


def escaped(data: bytes) -> bytes:
    """The same JSON with the letters of some words escaped."""
    for word in (b"done", b"error", b"type", b"model", b"response.completed", b"message_stop", b"usage"):
        data = data.replace(b'"%b"' % word, b'"\\u%04x%b"' % (word[0], word[1:]))
    return data


@every_dialect
@pytest.mark.parametrize("spelling", [spaced, escaped])
def test_the_end_and_an_error_are_known_in_every_spelling(dialect: type[Stream], spelling: Any) -> None:
    answer = ANSWERS[dialect.__name__]
    stream = fed(dialect, *map(spelling, answer.parts))
    assert not stream.ended
    stream.feed(answer.last if answer.last == b"data: [DONE]\n\n" else spelling(answer.last))
    assert (stream.ended, stream.failure) == (True, None)
    assert stream.usage
    assert stream.usage.output_tokens == 3
    failed = fed(dialect, spelling(answer.error))
    assert failed.failure
    assert failed.failure.message == "out of memory"


@every_dialect
def test_an_error_that_is_null_is_none(dialect: type[Stream]) -> None:
    answer = ANSWERS[dialect.__name__]
    parts = [part.replace(b"{", b'{"error":null,', 1) for part in (*answer.parts, answer.last)]
    stream = fed(dialect, *parts)
    assert (stream.ended, stream.failure) == (True, None)


@every_line
@pytest.mark.parametrize("field", ['"error":"boom"', '"err\\u006fr":"boom"', '"error" : {"message":"boom"}'])
def test_a_line_that_looks_like_all_others_may_still_tell_an_error(dialect: type[Stream], field: str) -> None:
    stream = fed(dialect, b'{%b,"model":"m","done":false}\n' % field.encode())
    assert stream.failure
    assert stream.failure.message == "boom"


@every_event
def test_an_event_stream_may_use_crlf(dialect: type[Stream]) -> None:
    answer = ANSWERS[dialect.__name__]
    whole = answer.whole.replace(b"\n", b"\r\n")
    for size in (1, 2, 3, 7, len(whole)):
        pieces = [whole[at : at + size] for at in range(0, len(whole), size)]
        stream = fed(dialect, *pieces)
        assert (stream.ended, stream.failure) == (True, None)
        assert stream.events == len(answer.parts) + 1
    failed = fed(dialect, answer.parts[0], answer.error.replace(b"\n", b"\r\n"))
    assert failed.failure
    assert failed.failure.message == "out of memory"


@every_event
def test_data_in_several_lines_and_comments_are_read_as_the_standard_says(dialect: type[Stream]) -> None:
    answer = ANSWERS[dialect.__name__]
    several = answer.last.replace(b'{"type":', b'{\ndata:"type":')
    stream = fed(dialect, b": hello\n\n", *answer.parts, b"id: 3\nretry: 5\n" + several)
    assert (stream.ended, stream.failure) == (True, None)
    assert fed(dialect, *answer.parts, answer.last.replace(b": ", b":", 2)).ended


@every_event
def test_the_event_of_a_terminal_name_in_a_text_is_not_the_end(dialect: type[Stream]) -> None:
    answer = ANSWERS[dialect.__name__]
    words = 'event: message_stop [DONE] response.completed \\"error\\":'
    stream = fed(dialect, *(part.replace(b"Hello", words.encode()) for part in answer.parts))
    assert not stream.ended


def test_a_text_that_equals_the_responses_id_is_left_alone() -> None:
    parts = ANSWERS["Responses"].parts
    stream = Responses(1_000_000)
    created = json.loads(stream.feed(parts[0]).split(b"data: ")[1])
    delta = json.loads(
        stream.feed(parts[1].replace(b"Hello response.completed", b"resp_1")).split(b"data: ")[1]
    )
    assert created["response"]["id"] != "resp_1"
    assert delta["delta"] == "resp_1"


NO_JSON = {
    "invalid UTF-8": b'{"model":"m","message":{"content":"\xff"},"done":false}',
    "half a character": b'{"model":"m","message":{"content":"\xe2\x82"},"done":false}',
    "NUL": b'{"model":"m","message":{"content":"\0"},"done":false}',
    "a byte order mark": b'\xef\xbb\xbf{"model":"m","done":false}',
    "two objects": b'{"model":"m","done":false}{"model":"m","done":false}',
    "an array": b'[{"done":false}]',
    "a number that is none": b'{"model":"m","x":NaN,"done":false}',
    "half an object": b'{"model":"m","done":false',
    "HTML": b"<html>done</html>",
    "no end of depth": b'{"x":' + b"[" * 100_000 + b'"done":false}',
}


@every_dialect
@pytest.mark.parametrize("bad", NO_JSON.values(), ids=NO_JSON)
def test_what_is_no_json_is_one_clear_error(dialect: type[Stream], bad: bytes) -> None:
    unit = bad + b"\n" if dialect in LINES else b"data: " + bad + b"\n\n"
    stream = dialect(1_000_000)
    assert stream.feed(unit) == b""
    assert isinstance(stream.failure, UpstreamFailed)
    assert "not a JSON object in UTF-8" in stream.failure.message


@every_dialect
def test_half_a_surrogate_pair_passes(dialect: type[Stream]) -> None:
    answer = ANSWERS[dialect.__name__]
    stream = fed(dialect, *(part.replace(b"Hello", b"\\ud83d") for part in answer.parts), answer.last)
    assert (stream.ended, stream.failure) == (True, None)


OBJECT = b'{"model":"m","_debug_info":{"rendered":"hi"},"message":{"content":""},"done":false}'


def test_one_object_that_upstream_declares_as_such_passes_as_it_is() -> None:
    stream = Ndjson(1_000_000)
    stream.open(200, "application/json; charset=utf-8")
    frames = stream.feed(OBJECT[:20]) + stream.feed(OBJECT[20:]) + stream.end()
    assert (frames, stream.ended, stream.failure) == (OBJECT, True, None)
    assert dict(stream.headers)[b"content-type"] == b"application/json; charset=utf-8"


def test_on_chat_it_is_one_event() -> None:
    stream = ChatSSE(1_000_000)
    stream.open(200, "application/json")
    frames = stream.feed(OBJECT) + stream.end()
    assert (frames, stream.ended, stream.failure) == (b"id: 1\ndata: %b\n\n" % OBJECT, True, None)
    assert dict(stream.headers)[b"content-type"] == b"text/event-stream"


@every_line
def test_a_stream_that_upstream_declares_as_one_object_streams_all_the_same(dialect: type[Stream]) -> None:
    stream = dialect(1_000_000)
    stream.open(200, "application/json")
    assert stream.feed(line("a"))
    assert stream.feed(line("b"))
    assert stream.feed(DONE)
    assert (stream.ended, stream.failure) == (True, None)


@every_line
@pytest.mark.parametrize("body", [b"", b'{"done":', b'{"done":false}\n{"done":false}'])
def test_half_an_object_or_two_are_no_answer(dialect: type[Stream], body: bytes) -> None:
    stream = dialect(1_000_000)
    stream.open(200, "application/json")
    stream.feed(body)
    stream.end()
    assert stream.failure


@every_event
def test_instead_of_events_one_object_may_come(dialect: type[Stream]) -> None:
    stream = dialect(1_000_000)
    stream.open(200, "application/json")
    assert stream.instead
    stream.instead.feed(b'{"usage":{"prompt_tokens":11,"completion_tokens":3}}')
    assert stream.instead.end() == b'{"usage":{"prompt_tokens":11,"completion_tokens":3}}'
    assert dict(stream.instead.headers)[b"content-type"] == b"application/json"


@pytest.mark.parametrize(
    ("media_type", "body", "says"),
    [
        ("text/html", b"<html>", "not JSON in UTF-8: text/html"),
        ("text/plain", b"404 page not found", "not JSON in UTF-8: text/plain"),
        ("", b"ok", "not JSON in UTF-8: no type"),
        ("application/json", b"<html>", "not JSON in UTF-8"),
        ("application/json", b'{"a":"\xff"}', "not JSON in UTF-8"),
        ("application/json", b"{}{}", "not JSON in UTF-8"),
        ("application/json", b'{"a":"' + b"x" * 5_000_000, "not JSON in UTF-8"),
    ],
)
def test_a_whole_answer_of_another_kind_is_one_clear_error(media_type: str, body: bytes, says: str) -> None:
    whole = Whole(10_000_000)
    whole.open(200, media_type)
    whole.feed(body)
    assert whole.end() == b""
    assert whole.failure
    assert says in whole.failure.message


@pytest.mark.parametrize("media_type", ["", "text/html", "application/x-ndjson"])
def test_no_foreign_content_type_goes_out(media_type: str) -> None:
    whole = Whole(10_000)
    whole.open(200, media_type)
    whole.feed(b"{}")
    assert whole.end() == b"{}"
    assert dict(whole.headers)[b"content-type"] == b"application/json"


@every_dialect
def test_nothing_is_lost_or_told_twice_however_units_and_reads_meet(dialect: type[Stream]) -> None:
    """Two units in a read, a unit in two reads, and the end of one with the beginning of the next."""
    whole = ANSWERS[dialect.__name__].whole
    blank = b"\n" if dialect in LINES else b"\n\n"
    for extra in (b"", blank):
        answer = extra + whole.replace(blank, blank + extra)
        cuts = [0, *range(1, len(answer), 5), len(answer)]
        stream = fed(dialect, *(answer[start:end] for start, end in pairwise(cuts)))
        assert (stream.ended, stream.failure) == (True, None)
        assert stream.events == len(ANSWERS[dialect.__name__].parts) + 1


def test_progress_ends_with_its_own_word_alone() -> None:
    stream = fed(Progress, b'{"status":"verifying sha256 digest"}\n')
    assert not stream.ended
    assert fed(Progress, b'{"error":"pull model manifest: file does not exist"}\n').failure

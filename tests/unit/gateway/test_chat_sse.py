import json
from itertools import combinations

import pytest

from gateway.dialects.chat_sse import ChatSSE
from gateway.dialects.usage import Usage
from gateway.errors import UpstreamFailed, UpstreamTruncated
from tests.fakes.ollama import DONE, line
from tests.unit.gateway.test_splitter import every_chunking


def frames_of(pieces: list[bytes]) -> tuple[bytes, ChatSSE]:
    dialect = ChatSSE(1_000_000)
    frames = b"".join(dialect.feed(piece) for piece in pieces)
    if not dialect.ended:
        frames += dialect.end()
    return frames, dialect


def test_each_line_becomes_one_numbered_event_with_its_bytes_untouched() -> None:
    frames, _ = frames_of([line(" se\u00e9"), DONE])
    assert frames == b"id: 1\ndata: " + line(" se\u00e9") + b"\nid: 2\ndata: " + DONE + b"\n"


def test_any_chunking_gives_the_same_events() -> None:
    for pieces in every_chunking(b'{}\n{"done":true}\n'):
        frames, dialect = frames_of(pieces)
        assert frames == b'id: 1\ndata: {}\n\nid: 2\ndata: {"done":true}\n\n', pieces
        assert dialect.failure is None


def test_two_cuts_anywhere_in_a_real_answer_change_nothing() -> None:
    answer = line("\u2028é") + line('"done":true') + DONE
    whole, _ = frames_of([answer])
    for first, second in combinations(range(len(answer)), 2):
        assert frames_of([answer[:first], answer[first:second], answer[second:]])[0] == whole


def test_events_of_one_read_leave_as_one_write() -> None:
    assert ChatSSE(1000).feed(line() * 100).count(b"\n\n") == 100


def test_a_line_is_passed_on_the_moment_it_is_complete() -> None:
    dialect = ChatSSE(1000)
    assert dialect.feed(line()[:-1]) == b""
    assert dialect.feed(b"\n") != b""


def test_the_last_line_ends_the_answer_and_tells_its_tokens() -> None:
    _, dialect = frames_of([line(), DONE, line("after the end")])
    assert dialect.ended
    assert dialect.usage == Usage(prompt_tokens=11, output_tokens=3)
    assert dialect.events == 2


@pytest.mark.parametrize(
    "content", ['"done":true', '{"done":true}', '\\"done":true', '"error":"x"', '{"error": 1}']
)
def test_a_text_that_looks_like_the_end_is_not_the_end(content: str) -> None:
    dialect = ChatSSE(1000)
    dialect.feed(line(content))
    assert not dialect.ended


def test_a_nested_field_called_done_or_error_is_not_the_end() -> None:
    dialect = ChatSSE(1000)
    dialect.feed(line("", tool_calls=[{"function": {"arguments": {"done": True, "error": "x"}}}]))
    assert not dialect.ended


def test_white_space_in_the_last_line_does_not_hide_it() -> None:
    dialect = ChatSSE(1000)
    dialect.feed(b'{"model": "m", "done": true}\r\n')
    assert dialect.ended
    assert dialect.failure is None


def test_a_carriage_return_cannot_break_an_event_in_two() -> None:
    assert b"\r" not in ChatSSE(1000).feed(b'{"a":1,\r"b":2}\r\n')


def test_an_error_line_is_a_failure_with_upstreams_words() -> None:
    frames, dialect = frames_of([line(), b'{"error":"out of memory"}\n', line()])
    assert frames.count(b"data:") == 1
    assert isinstance(dialect.failure, UpstreamFailed)
    assert dialect.failure.message == "out of memory"


@pytest.mark.parametrize("tail", [b"", b'{"model":"m","mess', b"\n"])
def test_an_end_without_a_last_line_is_truncation(tail: bytes) -> None:
    frames, dialect = frames_of([line() + tail])
    assert frames.count(b"data:") == 1
    assert isinstance(dialect.failure, UpstreamTruncated)


def test_a_last_line_without_its_line_end_still_counts() -> None:
    frames, dialect = frames_of([DONE.rstrip()])
    assert dialect.failure is None
    assert frames.startswith(b"id: 1")


@pytest.mark.parametrize("bad", [b"<html>\n", b'"done":true\n', b'{"done":true\n', b"[]\n"])
def test_a_line_that_is_no_json_object_is_a_failure(bad: bytes) -> None:
    _, dialect = frames_of([bad])
    assert isinstance(dialect.failure, UpstreamFailed)


def test_a_line_over_the_limit_is_a_failure_after_the_lines_before_it() -> None:
    dialect = ChatSSE(100)
    dialect.feed(b"{}\n")
    assert dialect.feed(b"x" * 101) == b""
    assert isinstance(dialect.failure, UpstreamFailed)


def test_the_error_event_carries_the_request_id_on_one_line() -> None:
    frame = ChatSSE(100).error(UpstreamTruncated("cut\noff"), "req-1")
    name, data, *rest = frame.decode().split("\n")
    assert (name, rest) == ("event: error", ["", ""])
    assert json.loads(data.removeprefix("data: "))["error"] == {
        "message": "cut\noff",
        "type": "api_error",
        "code": "upstream_truncated",
        "request_id": "req-1",
    }

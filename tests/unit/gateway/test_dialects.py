"""What holds for every dialect that streams, and what is particular to one."""

import json
from itertools import combinations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.dialects.anthropic import Messages
from gateway.dialects.chat_sse import ChatSSE
from gateway.dialects.ollama import Ndjson, Progress
from gateway.dialects.openai import Completions, Responses
from gateway.dialects.stream import Stream
from gateway.dialects.usage import Usage
from gateway.errors import UpstreamFailed, UpstreamTimeout, UpstreamTruncated
from tests.fakes.answers import ANSWERS, Answer

DIALECTS: list[type[Stream]] = [ChatSSE, Ndjson, Completions, Responses, Messages]
LIMIT = 1_000_000
every_dialect = pytest.mark.parametrize("dialect", DIALECTS)


def run(dialect: type[Stream], pieces: list[bytes]) -> tuple[bytes, Stream]:
    stream = dialect(LIMIT)
    # Drawn anew for each stream, and so not comparable between two.
    if hasattr(stream, "_unique"):
        stream._unique = b"same"
    frames = b""
    for piece in pieces:
        frames += stream.feed(piece)
        if stream.ended:
            return frames, stream
    return frames + stream.end(), stream


def answer_of(dialect: type[Stream]) -> Answer:
    return ANSWERS[dialect.__name__]


@every_dialect
def test_a_whole_answer_ends_without_a_failure(dialect: type[Stream]) -> None:
    frames, stream = run(dialect, [answer_of(dialect).whole])
    assert stream.ended
    assert stream.failure is None
    assert stream.usage == Usage(11, 3)
    assert b"Hello" in frames


@pytest.mark.parametrize(
    ("dialect", "said"),
    [
        (ChatSSE, b'event: status\ndata: {"state": "queued", "position": 2}\n\n'),
        (Completions, b': queued {"position": 2}\n\n'),
        (Messages, b': queued {"position": 2}\n\n'),
    ],
)
def test_what_is_waited_for_is_said_where_the_format_can_say_it(dialect: type[Stream], said: bytes) -> None:
    assert dialect.shows_status
    assert dialect(LIMIT).status("queued", {"position": 2}) == said
    assert not Ndjson.shows_status


@every_dialect
def test_a_unit_that_is_too_long_fails_the_stream_without_a_reference_cycle(dialect: type[Stream]) -> None:
    """A traceback would refer to the stream, and to megabytes of its unit."""
    stream = dialect(10)
    stream.feed(b"x" * 100)
    assert isinstance(stream.failure, UpstreamFailed)
    assert stream.failure.__traceback__ is None


@every_dialect
def test_two_cuts_anywhere_change_nothing(dialect: type[Stream]) -> None:
    whole = answer_of(dialect).whole
    expected, _ = run(dialect, [whole])
    cuts = list(combinations(range(0, len(whole), 3), 2))
    for first, second in cuts[:: max(1, len(cuts) // 4_000)]:
        assert run(dialect, [whole[:first], whole[first:second], whole[second:]])[0] == expected


@every_dialect
def test_an_end_without_the_last_unit_is_truncation_wherever_it_comes(dialect: type[Stream]) -> None:
    answer = answer_of(dialect)
    whole = b"".join(answer.parts)
    for cut in range(len(whole)):
        frames, stream = run(dialect, [whole[:cut]])
        assert isinstance(stream.failure, UpstreamTruncated), cut
        assert expected_start(dialect, frames), cut


def expected_start(dialect: type[Stream], frames: bytes) -> bool:
    """Only whole units have left."""
    end = b"\n" if dialect is Ndjson else b"\n\n"
    return not frames or frames.endswith(end)


@every_dialect
def test_an_error_of_upstreams_is_a_failure_with_its_words(dialect: type[Stream]) -> None:
    answer = answer_of(dialect)
    _, stream = run(dialect, [answer.parts[0], answer.error])
    assert isinstance(stream.failure, UpstreamFailed)
    assert stream.failure.message == "out of memory"


@every_dialect
def test_what_does_not_belong_into_the_stream_is_a_failure(dialect: type[Stream]) -> None:
    _, stream = run(dialect, [answer_of(dialect).parts[0], b"<html>oops</html>\n\n"])
    assert isinstance(stream.failure, UpstreamFailed)


@every_dialect
def test_the_error_of_a_failed_answer_is_whole_and_says_why(dialect: type[Stream]) -> None:
    frames = dialect(LIMIT).error(UpstreamTimeout("too\nslow"), "req-1")
    assert frames.endswith(b"\n")
    assert b'"too\\nslow"' in frames


@every_dialect
def test_nothing_follows_the_last_unit(dialect: type[Stream]) -> None:
    whole = answer_of(dialect).whole
    assert run(dialect, [whole + whole])[0] == run(dialect, [whole])[0]


@every_dialect
@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_any_bytes_in_any_chunking_never_raise_and_give_what_the_whole_gives(
    dialect: type[Stream], data: st.DataObject
) -> None:
    answer = answer_of(dialect)
    unit = st.sampled_from(
        [*answer.parts, answer.last, answer.error, b"\n", b"\n\n", b"{}\n", b"data: {}\n\n"]
    )
    body = b"".join(data.draw(st.lists(st.one_of(unit, st.binary(max_size=20)), max_size=8)))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=8)))
    pieces = [body[start:end] for start, end in zip([0, *cuts], [*cuts, len(body)], strict=True)]
    frames, stream = run(dialect, pieces)
    expected, whole = run(dialect, [body])
    assert frames == expected
    assert (stream.usage, stream.events, type(stream.failure)) == (
        whole.usage,
        whole.events,
        type(whole.failure),
    )


def test_ollamas_lines_pass_with_their_bytes_untouched() -> None:
    whole = ANSWERS["Ndjson"].whole
    assert run(Ndjson, [whole])[0] == whole


def test_the_progress_of_a_pull_ends_with_success() -> None:
    lines = b'{"status":"pulling manifest"}\n{"status" : "succe\\u0073s"}\n'
    frames, stream = run(Progress, [lines])
    assert (frames, stream.failure) == (lines, None)


def test_an_answer_does_not_end_with_the_success_of_a_pull() -> None:
    _, stream = run(Ndjson, [b'{"status":"success"}\n'])
    assert isinstance(stream.failure, UpstreamTruncated)


def test_openais_ids_are_made_unique_and_the_same_within_an_answer() -> None:
    first, second = Completions(LIMIT), Completions(LIMIT)
    ids = [
        {
            json.loads(event[6:])["id"]
            for event in stream.feed(ANSWERS["Completions"].whole).split(b"\n\n")[:2]
        }
        for stream in (first, second)
    ]
    assert len(ids[0]) == len(ids[1]) == 1
    assert ids[0] != ids[1]
    assert all(value.startswith("chatcmpl-") for value in ids[0])


def test_an_id_within_a_text_is_left_alone() -> None:
    chunk = (
        b'data: {"object":"chat.completion.chunk","choices":[{"delta":{"tool_calls":[{"id":"call-1"}]}}]}\n\n'
    )
    assert run(Completions, [chunk])[0] == chunk


def test_the_empty_chunk_in_which_ollama_loses_an_error_is_a_failure() -> None:
    chunk = b'data: {"id":"chatcmpl-1","model":"","choices":[{"delta":{"content":""}}]}\n\n'
    _, stream = run(Completions, [chunk])
    assert isinstance(stream.failure, UpstreamFailed)


@pytest.mark.parametrize(
    ("dialect", "last"),
    [
        (Completions, b"data: [DONE]\n\n"),
        (Messages, b'event: message_stop\ndata: {"type":"message_stop"}\n\n'),
    ],
)
def test_an_error_is_followed_by_the_terminal_marker(dialect: type[Stream], last: bytes) -> None:
    assert dialect(LIMIT).error(UpstreamTimeout("slow"), "r").endswith(last)


def test_a_failed_response_keeps_its_id_and_numbers_its_events_on() -> None:
    stream = Responses(LIMIT)
    created = stream.feed(ANSWERS["Responses"].parts[0])
    events: list[dict[str, Any]] = [
        json.loads(event.split(b"data: ")[1])
        for event in stream.error(UpstreamTimeout("slow"), "r").split(b"\n\n")[:-1]
    ]
    assert [event["type"] for event in events] == ["error", "response.failed"]
    assert [event["sequence_number"] for event in events] == [1, 2]
    assert (
        events[1]["response"]["id"] == json.loads(created.split(b"data: ")[1])["response"]["id"] != "resp_1"
    )
    assert events[1]["response"]["status"] == "failed"

"""OpenAI's `background` in a request's body, and the events of such a response."""

import json

import pytest

from gateway.ask.background import in_background, streamed
from gateway.dialects.background import Background, response_in
from gateway.errors import AnswerCancelled, InvalidRequest, UpstreamFailed
from tests.fakes.answers import ANSWERS
from tests.unit.gateway.bodies import read_fields, taken

PARTS, LAST = ANSWERS["Responses"].parts, ANSWERS["Responses"].last


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"{}", False),
        (b'{"background":false}', False),
        (b'{"background":null}', False),
        (b'{"background":true}', True),
        (b'{"Background":true,"background":null}', True),
        (b'{"background":true,"background":false}', False),
    ],
)
def test_a_request_says_whether_it_is_for_the_background(body: bytes, expected: bool) -> None:
    assert in_background(read_fields(body)) is expected


@pytest.mark.parametrize("value", [b'"yes"', b"1", b"0", b"[]", b"{}"])
def test_anything_but_a_boolean_is_refused(value: bytes) -> None:
    with pytest.raises(InvalidRequest, match="background: send true or false"):
        in_background(read_fields(b'{"background":%b,"background":true}' % value))


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"{}", b'{"stream":true}'),
        (b'{"model":"m" }', b'{"model":"m","stream":true }'),
        (b'{"stream" : false, "x":"\xc3\xa9"}', b'{"stream" : true, "x":"\xc3\xa9"}'),
        (b'{"stream":true,"stream":null,"Stream":false}', b'{"stream":true,"stream":true,"Stream":true}'),
        (b'{"stream":true}', b'{"stream":true}'),
        (b'{"stream":"false"}', b'{"stream":"false"}'),
        (b'{"stream":0,"x":{"stream":false}}', b'{"stream":0,"x":{"stream":false}}'),
    ],
)
def test_upstream_is_asked_for_a_stream_and_all_else_stays(body: bytes, expected: bytes) -> None:
    assert taken(streamed(body)) == expected


def test_a_stream_that_is_no_json_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="not valid JSON"):
        taken(streamed(b'{"stream":falsely}'))


def events(stream: bytes) -> list[dict[str, object]]:
    return [json.loads(event.split(b"data: ", 1)[1]) for event in stream.split(b"\n\n") if event]


def test_the_first_event_takes_the_place_of_ollamas() -> None:
    dialect = Background(1000, "secret", "m")
    told = events(dialect.opening + b"".join(map(dialect.feed, (*PARTS, LAST))))
    assert [event["sequence_number"] for event in told] == [0, 1, 2]
    assert [event["type"] for event in told[::2]] == ["response.created", "response.completed"]
    for event in told[::2]:
        assert isinstance(event["response"], dict)
        assert event["response"]["id"] == "resp_secret"
    assert told[2]["response"] == response_in(LAST) | {"id": "resp_secret"}


@pytest.mark.parametrize("fed", range(len(PARTS) + 1))
def test_numbers_have_no_gap_wherever_it_fails(fed: int) -> None:
    dialect = Background(1000, "secret", "m")
    stream = dialect.opening + b"".join(map(dialect.feed, PARTS[:fed]))
    told = events(stream + dialect.error(UpstreamFailed("out of memory"), "abc"))
    assert [event["sequence_number"] for event in told] == [*range(len(told))]
    failed = told[-1]["response"]
    assert isinstance(failed, dict)
    assert (failed["id"], failed["status"]) == ("resp_secret", "failed")
    assert failed["error"] == {"code": "server_error", "message": "out of memory"}


def test_it_is_queued_then_in_progress_and_may_be_cancelled() -> None:
    dialect = Background(1000, "secret", "m")
    assert dialect.response["status"] == "queued"
    dialect.feed(PARTS[0])
    assert dialect.response["status"] == "in_progress"
    cancelled = events(dialect.error(AnswerCancelled("x"), "abc"))[-1]["response"]
    assert isinstance(cancelled, dict)
    assert (cancelled["status"], cancelled["error"]) == ("cancelled", None)

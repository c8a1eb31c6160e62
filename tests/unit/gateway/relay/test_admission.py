"""What admission adds to an answer, and what it hears of it."""

import asyncio

import pytest

from gateway.ask.waiting import Used
from gateway.errors import GatewayError, ModelNotFound, UpstreamTruncated
from tests.fakes.ollama import DONE, line
from tests.unit.gateway.relay.stream import Stream

LIMIT = (b"x-ratelimit-limit-requests", b"60")


async def test_admissions_headers_are_on_the_answer() -> None:
    stream = Stream()
    stream.model.headers = [LIMIT]
    stream.model.bytes.put_nowait(DONE)
    stream.model.bytes.put_nowait(None)
    await stream.end()
    assert stream.client.history[0]["headers"].count(LIMIT) == 1


async def test_admissions_headers_are_on_an_answer_that_begins_with_a_heartbeat() -> None:
    stream = Stream(early_commit=0.01)
    stream.model.headers = [LIMIT]
    assert (await stream.next_sent())["headers"].count(LIMIT) == 1
    stream.client.gone.set()
    await stream.end()


async def test_admissions_headers_are_on_an_error_response() -> None:
    stream = Stream()
    stream.model.headers = [LIMIT]
    stream.model.refusal = ModelNotFound("model 'x' not found")
    await stream.end()
    assert stream.client.history[0]["headers"].count(LIMIT) == 1
    assert not stream.model.sent.is_set()


async def test_an_answer_is_settled_when_it_is_sent_even_if_upstream_stays_open() -> None:
    stream = Stream()
    stream.model.bytes.put_nowait(line())
    await stream.next_sent()
    await stream.next_sent()
    assert not stream.model.sent.is_set()
    stream.model.bytes.put_nowait(DONE)
    assert (await stream.next_sent())["more_body"] is False
    async with asyncio.timeout(10):
        await stream.model.sent.wait()
    assert not stream.model.released
    await stream.end()


@pytest.mark.parametrize(
    ("ends", "used"),
    [
        (DONE, Used(11, 3, complete=True)),
        (UpstreamTruncated("gone"), Used(None, 2)),
        ("leaves", Used(None, 2)),
    ],
)
async def test_tokens_are_as_reported_or_else_the_chunks_that_came(
    ends: bytes | GatewayError | str, used: Used
) -> None:
    stream = Stream()
    for piece in (line(), line()):
        stream.model.bytes.put_nowait(piece)
    for _ in range(3):
        await stream.next_sent()
    if isinstance(ends, str):
        stream.client.gone.set()
    else:
        stream.model.bytes.put_nowait(ends)
        stream.model.bytes.put_nowait(None)
    await stream.end()
    before, after = stream.model.used
    assert before == Used(0, 0)
    assert after._replace(seconds=0) == used
    assert 0 < after.seconds < 10

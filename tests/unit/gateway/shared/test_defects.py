"""A defect in what is shared is logged, and what has failed begins anew."""

import asyncio

import pytest

from gateway.shared import sharing
from gateway.shared.link import Link
from tests.integration.queue.queues import until
from tests.valkey import Server

pytestmark = pytest.mark.usefixtures("logging_as_before")


async def test_a_message_that_cannot_be_handled_costs_the_connection_and_not_more(
    server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    link, heard, ups = Link(server.url, "test"), [], []

    def told(message: bytes) -> None:
        if message == b"bad":
            raise KeyError("defect")
        heard.append(message)

    link.subscribe("news", told)
    link.when_up(lambda: ups.append(True))
    running = asyncio.ensure_future(link.run())
    await until(lambda: link.up, "it is connected")
    link.publish("news", b"bad")
    await until(lambda: len(ups) == 2, "it is connected again")
    link.publish("news", b"good")
    await until(lambda: heard == [b"good"], "it hears the next message")
    running.cancel()
    await asyncio.wait({running})
    assert "shared_link_failed" in capsys.readouterr().out


async def test_a_part_that_fails_is_begun_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sharing, "PAUSE_SECONDS", 0.01)
    begun = []

    async def part() -> None:
        begun.append(True)
        if len(begun) == 1:
            raise KeyError("defect")

    await sharing._keep_up(part)
    assert len(begun) == 2
    assert "shared_part_failed" in capsys.readouterr().out

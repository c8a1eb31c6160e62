"""Several model servers pull at the same time; those behind one name, which may share a disk, take turns."""

import asyncio
import socket
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Any

import pytest
from structlog.testing import capture_logs

from gateway.commands.pull import command
from gateway.commands.pull.command import pull_everywhere
from gateway.settings import Settings
from tests.fakes.ollama import Answer, Do
from tests.processes import free_port, wait_until
from tests.unit.gateway.pulling.ollama import HALF, MANIFEST, SUCCESS, UNKNOWN, PullingOllama
from tests.unit.gateway.pulling.puller import PATIENT, Lines, events

WAITS = Answer([MANIFEST, HALF, Do.HANG])


def settings(*urls: str, models: str = "a") -> Settings:
    return Settings(ollama_urls=", ".join(urls), models=models)


async def everywhere(given: Settings) -> tuple[bool, Lines]:
    with capture_logs() as lines:
        return await asyncio.wait_for(pull_everywhere(given, PATIENT), 20), lines


async def test_every_server_pulls_and_its_lines_name_it() -> None:
    async with PullingOllama().running() as one, PullingOllama().running() as other:
        complete, lines = await everywhere(
            settings(f"{one.url} name=one", f"{other.url} name=other", models="a,b")
        )
    assert complete
    assert one.pulls == other.pulls == ["a", "b"]
    assert {(line["server"], line["model"]) for line in events(lines, "pulled")} == {
        ("one", "a"), ("one", "b"), ("other", "a"), ("other", "b"),
    }  # fmt: skip
    assert {line["server"] for line in events(lines, "pulling")} == {"one", "other"}


async def test_a_single_server_is_not_named() -> None:
    async with PullingOllama().running() as ollama:
        _, lines = await everywhere(settings(f"{ollama.url} name=one"))
    assert lines
    assert not any("server" in line for line in lines)


async def test_a_server_that_is_down_keeps_no_other_waiting() -> None:
    port = free_port()
    async with PullingOllama().running() as up:
        with capture_logs() as lines:
            given = settings(f"http://127.0.0.1:{port} name=down", f"{up.url} name=up")
            pulling = asyncio.create_task(pull_everywhere(given, PATIENT))
            await asyncio.to_thread(wait_until, lambda: events(lines, "pulled"), 10, "the other has pulled")
            assert [line["server"] for line in events(lines, "waiting")] == ["down"]
            assert not pulling.done()
            async with PullingOllama().running(port) as late:
                assert await asyncio.wait_for(pulling, 10)
    assert (up.pulls, late.pulls) == (["a"], ["a"])


async def test_a_model_that_one_server_refuses_is_pulled_by_the_others() -> None:
    async with PullingOllama(answers={"a": [UNKNOWN]}).running() as old, PullingOllama().running() as new:
        complete, lines = await everywhere(settings(f"{old.url} name=old", f"{new.url} name=new"))
    assert not complete
    assert new.pulls == ["a"]
    assert [(line["server"], list(line["models"])) for line in events(lines, "models_missing")] == [
        ("old", ["a"])
    ]


def found(monkeypatch: pytest.MonkeyPatch, *lookups: Sequence[str]) -> None:
    """What each lookup of the name finds; the last one holds for all that follow."""
    left = list(lookups)

    async def addresses(*_: object) -> list[str]:
        return list(left.pop(0) if len(left) > 1 else left[0])

    monkeypatch.setattr(command, "addresses", addresses)
    monkeypatch.setattr(command, "LOOKUP_SECONDS", 0.05)


async def test_replicas_behind_one_name_that_share_a_disk_pull_each_model_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    port, disk = free_port(), list[str]()
    hosts = ["127.0.0.1", "127.0.0.2", "127.0.0.3"]
    found(monkeypatch, hosts)
    slow = Answer([MANIFEST, 0.1, SUCCESS])
    async with AsyncExitStack() as running:
        replicas = [
            await running.enter_async_context(
                PullingOllama(models=disk, answers={"a": [slow], "b": [slow]}).running(port, host)
            )
            for host in hosts
        ]
        complete, lines = await everywhere(settings(f"http://replicas:{port}", models="a,b"))
    assert complete
    assert sorted(name for replica in replicas for name in replica.pulls) == ["a", "b"]
    assert {line["server"] for line in events(lines, "all_models_there")} == {
        "ollama", "ollama@127.0.0.2", "ollama@127.0.0.3",
    }  # fmt: skip


async def test_a_replica_that_comes_later_pulls_too(monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    found(monkeypatch, ["127.0.0.1"], ["127.0.0.1", "127.0.0.2"])
    slow = Answer([MANIFEST, 0.3, SUCCESS])
    # A single address is looked up again for each connection.
    lookup = socket.getaddrinfo

    def to_the_first(host: str, *arguments: Any, **more: Any) -> Any:
        return lookup("127.0.0.1" if host == "replicas" else host, *arguments, **more)

    monkeypatch.setattr(socket, "getaddrinfo", to_the_first)
    async with (
        PullingOllama(answers={"a": [slow]}).running(port) as first,
        PullingOllama().running(port, "127.0.0.2") as second,
    ):
        complete, _ = await everywhere(settings(f"http://replicas:{port}"))
    assert complete
    assert (first.pulls, second.pulls) == (["a"], ["a"])


async def test_a_replica_that_is_gone_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    found(monkeypatch, ["127.0.0.1", "127.0.0.2"], ["127.0.0.1"])
    async with (
        PullingOllama().running(port) as first,
        PullingOllama(answers={"a": [WAITS]}).running(port, "127.0.0.2") as gone,
    ):
        complete, _ = await everywhere(settings(f"http://replicas:{port}"))
        if gone.pulls:
            await asyncio.wait_for(gone.abandoned.wait(), 5)
    assert complete
    assert first.pulls == ["a"]

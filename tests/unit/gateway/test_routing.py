import asyncio
import math
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress

import pytest

from gateway.access.keyring import Keyring
from gateway.backends import polling
from gateway.backends.backend import Backend
from gateway.backends.client import Upstream
from gateway.backends.gauges import Gauges
from gateway.backends.listing import listed, loaded
from gateway.errors import UpstreamFailed, UpstreamUnreachable
from gateway.names import full_name
from gateway.settings import Settings
from gateway.telemetry.loop_watch import LoopWatch
from tests.fakes.ollama import DONE, FakeOllama
from tests.processes import wait_until


@pytest.mark.parametrize(
    ("said", "known"),
    [
        ("qwen2.5", "qwen2.5:latest"),
        ("Qwen2.5:1.5B", "qwen2.5:1.5b"),
        ("library/qwen2.5:1.5b", "qwen2.5:1.5b"),
        ("registry.ollama.ai/library/qwen2.5", "qwen2.5:latest"),
        ("registry.ollama.ai/user/model", "user/model:latest"),
        ("localhost:5000/library/model", "localhost:5000/library/model:latest"),
    ],
)
def test_a_name_is_known_by_the_form_in_which_ollama_lists_it(said: str, known: str) -> None:
    assert full_name(said) == known


@pytest.mark.parametrize(
    ("models", "default_model", "awaited", "missing"),
    [
        ([], "", (), "the model server has no models"),
        ([], "", ("a", "b:1"), "none of these models is installed yet: a, b:1"),
        ([], "b:1", ("a", "b:1"), "the model b:1 is not installed yet"),
        (["b:1"], "", ("a", "b:1"), None),
        (["other:latest"], "", ("a",), None),
    ],
)
async def test_what_is_awaited_is_named_while_there_is_no_model(
    models: list[str], default_model: str, awaited: tuple[str, ...], missing: str | None
) -> None:
    upstream = Upstream("http://127.0.0.1:9", 1)
    backend = Backend("ollama", upstream, default_model, awaited)
    backend.up, backend.models = True, frozenset(models)
    assert backend.missing == missing
    await upstream.aclose()


async def test_a_failed_answer_is_a_reason_to_look_at_once_whether_the_backend_is_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(polling, "POLL_SECONDS_READY", 3600)
    monkeypatch.setattr(polling, "POLL_SECONDS_MISSING", 0.01)
    with FakeOllama().running() as fake:
        upstream = Upstream(fake.url, 1)
        backend = Backend("ollama", upstream, "")
        watch = asyncio.create_task(backend.watch())
        await asyncio.to_thread(wait_until, lambda: backend.up, 10, "the backend is up")
    with pytest.raises(UpstreamFailed):
        async with backend.stream("POST", "/api/chat", b"{}", {}, None):
            pass
    await asyncio.to_thread(wait_until, lambda: not backend.up, 10, "the backend is down")
    watch.cancel()
    with suppress(asyncio.CancelledError):
        await watch
    await upstream.aclose()


NOW = 1_800_000_000


@pytest.mark.parametrize(
    ("expires_at", "seconds"),
    [
        ("2027-01-15T08:05:00.123456789Z", 300.123456),
        ("2027-01-15T09:05:00+01:00", 300),
        ("2027-01-15T07:00:00Z", 0),
        ("2318-01-01T00:00:00Z", math.inf),
        (None, math.inf),
        ("some day", math.inf),
    ],
)
def test_the_time_until_a_model_is_unloaded_is_what_ollama_says(
    monkeypatch: pytest.MonkeyPatch, expires_at: str | None, seconds: float
) -> None:
    monkeypatch.setattr(time, "time", lambda: NOW)
    (model,) = loaded({"models": [{"name": "Good", "expires_at": expires_at}]})
    assert model.unload_after == pytest.approx(seconds, abs=1e-3)


async def test_a_model_that_has_answered_is_in_memory_before_a_poll_says_so() -> None:
    fake = FakeOllama()
    fake.answer("good", b"{}")
    with fake.running():
        upstream = Upstream(fake.url, 1)
        backend = Backend("ollama", upstream, "")
        watch = asyncio.create_task(backend.watch())
        await asyncio.wait_for(backend.polled.wait(), 10)
        assert not backend.has_loaded("good")
        async with backend.stream("POST", "/api/chat", b'{"model":"good"}', {"X-Request-Id": "1"}, "good"):
            assert backend.has_loaded("GOOD")
        watch.cancel()
        await upstream.aclose()


async def test_the_gauges_are_those_of_the_last_poll() -> None:
    fake = FakeOllama()
    fake.answer("good")
    fake.loaded = [{"name": "Good", "size": 4000, "size_vram": 1000}]
    with fake.running():
        upstream = Upstream(fake.url, 1)
        backend = Backend("ollama", upstream, "")
        watch = asyncio.create_task(backend.watch())
        await asyncio.wait_for(backend.polled.wait(), 10)
        watch.cancel()
        await upstream.aclose()
    values = {
        metric.name.removeprefix("gateway_backend_"): [sample.value for sample in metric.samples]
        for metric in Gauges(Settings(), lambda: [backend], Keyring(Settings()), LoopWatch()).collect()
    }
    assert (values["up"], values["models"], values["models_loaded"]) == ([1], [1], [1])
    assert (values["memory_bytes"], values["vram_bytes"], values["gpu_ratio"]) == ([4000], [1000], [0.25])
    assert values["unload_seconds"] == [math.inf]
    assert backend.has_loaded("good")
    assert not backend.has_loaded("other")


@pytest.fixture
async def backend(fake: FakeOllama) -> AsyncIterator[Backend]:
    upstream = Upstream(fake.url, 1)
    yield Backend("ollama", upstream, "")
    await upstream.aclose()


@pytest.fixture
def fake() -> Iterator[FakeOllama]:
    with FakeOllama().running() as fake:
        yield fake


async def test_a_model_that_is_not_known_is_looked_for_at_once(fake: FakeOllama, backend: Backend) -> None:
    fake.answer("own", DONE)
    assert await backend.locate("OWN:local") == "local"
    assert await backend.locate("other") is None
    fake.answer("other", DONE)
    fake.remote["other"] = "https://cloud.example"
    assert await backend.locate(" other ") == "remote"
    fake.answer("named:cloud", DONE)
    assert await backend.locate("named:cloud") == "remote"


async def test_those_who_look_at_the_same_time_share_what_is_seen(fake: FakeOllama, backend: Backend) -> None:
    fake.answer("own", DONE)
    assert await asyncio.gather(*(backend.locate("own") for _ in range(50))) == ["local"] * 50
    assert await asyncio.gather(*(backend.locate("other") for _ in range(50))) == [None] * 50
    assert fake.polls < 10


async def test_after_a_change_what_was_known_of_a_model_counts_no_more(
    fake: FakeOllama, backend: Backend
) -> None:
    fake.answer("m", DONE)
    assert await backend.locate("m") == "local"
    async with backend.change("POST", "/api/copy", b'{"source":"x","destination":"m"}', {}):
        fake.remote["m"] = "https://cloud.example"
    assert await backend.locate("m") == "remote"


async def test_while_something_is_changed_a_model_is_looked_for_each_time(
    fake: FakeOllama, backend: Backend
) -> None:
    """Whoever asked for the change reads the end of its answer before the gateway has tidied up."""
    fake.answer("m", DONE)
    assert await backend.locate("m") == "local"
    async with backend.change("POST", "/api/copy", b'{"source":"x","destination":"m"}', {}):
        assert await backend.locate("m") == "local"
        fake.remote["m"] = "https://cloud.example"
        assert await backend.locate("m") == "remote"


async def test_a_list_from_before_a_change_does_not_count(
    fake: FakeOllama, backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.answer("m", DONE)
    ask = backend.upstream.get_json

    async def changed_meanwhile(path: str, seconds: float) -> object:
        answer = await ask(path, seconds)
        if not fake.remote:
            async with backend.change("POST", "/api/pull", b'{"model":"m"}', {}):
                fake.remote["m"] = "https://cloud.example"
        return answer

    monkeypatch.setattr(backend.upstream, "get_json", changed_meanwhile)
    watch = asyncio.create_task(backend.watch())
    await backend.polled.wait()
    assert backend.models == {"m:latest"}
    assert not backend.local
    assert await backend.locate("m") == "remote"
    watch.cancel()
    with suppress(asyncio.CancelledError):
        await watch


async def test_nothing_is_known_of_a_model_server_that_does_not_say() -> None:
    upstream = Upstream("http://127.0.0.1:9", 1)
    backend = Backend("ollama", upstream, "")
    for _ in range(2):
        with pytest.raises(UpstreamUnreachable):
            await backend.locate("m")
    await upstream.aclose()


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (401, b'{"error":"unauthorized"}'),
        (404, b'{"error":"not found"}'),
        (500, b'{"error":"broken"}'),
        (503, b"busy"),
        (302, b""),
        (200, b"<html>"),
        (200, b"[]"),
        (200, b"{}"),
        (200, b'{"models":3}'),
    ],
)
async def test_a_list_of_models_that_cannot_be_used_is_a_failure_of_the_model_server(
    status: int, body: bytes
) -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 %d x\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body))
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server:
        upstream = Upstream(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", 1)
        backend = Backend("ollama", upstream, "")
        with pytest.raises(UpstreamFailed, match="list of models could not be read") as raised:
            await backend.locate("m")
        assert (raised.value.status, raised.value.code) == (502, "upstream_error")
        await upstream.aclose()


async def test_a_model_server_without_models_is_usable(fake: FakeOllama, backend: Backend) -> None:
    assert await backend.locate("m") is None
    assert listed({"models": None}) == frozenset()


async def test_only_a_model_of_its_own_that_is_not_in_memory_is_loaded_by_the_server(
    fake: FakeOllama, backend: Backend
) -> None:
    fake.answer("own", DONE)
    fake.answer("far", DONE)
    fake.remote["far"] = "https://cloud.example"
    await backend.refresh()
    assert backend.loads("own")
    assert not backend.loads("far")
    assert not backend.loads("nothing")

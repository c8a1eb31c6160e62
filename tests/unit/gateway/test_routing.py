import asyncio
from contextlib import suppress

import pytest

from gateway import routing
from gateway.errors import UpstreamFailed
from gateway.routing import Backend, full_name
from gateway.upstream import Upstream
from tests.fakes.ollama import FakeOllama
from tests.processes import wait_until


@pytest.mark.parametrize(
    ("said", "listed"),
    [
        ("qwen2.5", "qwen2.5:latest"),
        ("Qwen2.5:1.5B", "qwen2.5:1.5b"),
        ("library/qwen2.5:1.5b", "qwen2.5:1.5b"),
        ("registry.ollama.ai/library/qwen2.5", "qwen2.5:latest"),
        ("registry.ollama.ai/user/model", "user/model:latest"),
        ("localhost:5000/library/model", "localhost:5000/library/model:latest"),
    ],
)
def test_a_name_is_known_by_the_form_in_which_ollama_lists_it(said: str, listed: str) -> None:
    assert full_name(said) == listed


@pytest.mark.parametrize(
    ("models", "default_model", "awaited", "missing"),
    [
        ([], "", (), "the model server has no models"),
        ([], "", ("a", "b:1"), "none of the models is there yet: a, b:1"),
        ([], "b:1", ("a", "b:1"), "the model b:1 is not there yet"),
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
    monkeypatch.setattr(routing, "POLL_SECONDS_READY", 3600)
    monkeypatch.setattr(routing, "POLL_SECONDS_MISSING", 0.01)
    with FakeOllama().running() as fake:
        upstream = Upstream(fake.url, 1)
        backend = Backend("ollama", upstream, "")
        watch = asyncio.create_task(backend.watch())
        await asyncio.to_thread(wait_until, lambda: backend.up, 10, "the backend is up")
    with pytest.raises(UpstreamFailed):
        async with backend.stream("POST", "/api/chat", b"{}", {}):
            pass
    await asyncio.to_thread(wait_until, lambda: not backend.up, 10, "the backend is down")
    watch.cancel()
    with suppress(asyncio.CancelledError):
        await watch
    await upstream.aclose()

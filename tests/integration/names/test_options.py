"""Options for which Ollama reloads a model: counted, taken out, or made the same in all requests."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.fakes.ollama import DONE, Do, FakeOllama
from tests.integration.programs import gateway
from tests.integration.scrapes import value
from tests.processes import wait_until

Start = Callable[..., str]


@pytest.fixture
def fake() -> Iterator[FakeOllama]:
    fake = FakeOllama()
    for model in ("m:1", "other:1"):
        fake.answer(model, DONE)
    with fake.running():
        yield fake


@pytest.fixture
def start(fake: FakeOllama, tmp_path: Path) -> Iterator[Start]:
    """Starts a gateway with these settings."""
    with ExitStack() as stack:

        def started(**settings: str) -> str:
            process, url = stack.enter_context(gateway(fake.url, tmp_path, **settings))
            process.wait_ready(f"{url}/readyz")
            return url

        yield started


def ask(url: str, *, path: str = "/api/chat", model: str = "m:1", **fields: Any) -> httpx.Response:
    body = {"model": model, "messages": [{"role": "user", "content": "hi"}], **fields}
    return httpx.post(f"{url}{path}", json=body, timeout=30)


def options(fake: FakeOllama) -> dict[str, Any] | None:
    found: dict[str, Any] | None = json.loads(fake.received[-1].body).get("options")
    return found


def test_as_they_come_requests_that_reload_a_model_are_counted(fake: FakeOllama, start: Start) -> None:
    fake.loaded = [{"name": "m:1"}]
    url = start(GATEWAY_OPEN_METRICS="on")

    def counted(option: str) -> float | None:
        return value(url, "gateway_reloads_total", model="m:1", option=option)

    for size in (4096, 4096, 8192):
        answer = ask(url, options={"num_ctx": size})
        assert options(fake) == {"num_ctx": size}
        assert "x-request-changed" not in answer.headers
    assert counted("num_ctx") == 1
    ask(url, path="/v1/chat/completions")  # has no options
    ask(url, path="/chat", options={"temperature": 0})
    assert counted("num_ctx") == 2
    ask(url, options={"num_thread": 4})
    assert counted("num_thread") == 1
    ask(url, model="none", options={"num_ctx": 1})
    ask(url, model="other:1", options={"num_ctx": 1})
    assert value(url, "gateway_reloads_total", model="other:1") is None


def test_stripped_they_do_not_reach_the_model_server(fake: FakeOllama, start: Start) -> None:
    url = start(GATEWAY_RUNNER_OPTIONS="strip", GATEWAY_OPEN_METRICS="on")
    for size in (4096, 8192):
        for path in ("/chat", "/api/chat", "/api/generate", "/api/embed"):
            answer = ask(url, path=path, options={"num_gpu": 1, "seed": 7, "num_ctx": size})
            assert options(fake) == {"seed": 7}
            assert answer.headers["x-request-changed"] == "num_ctx removed, num_gpu removed"
    assert value(url, "gateway_reloads_total", model="m:1") is None
    assert "x-request-changed" not in ask(url, options={"seed": 7}).headers


def test_the_largest_context_is_everybodys(fake: FakeOllama, start: Start) -> None:
    url = start(GATEWAY_RUNNER_OPTIONS="largest", GATEWAY_ALIASES="fast=m:1", GATEWAY_MAX_OUTPUT_TOKENS="100")
    limit = {"num_predict": 100}

    def sent(**fields: Any) -> tuple[dict[str, Any] | None, str | None]:
        changed = ask(url, **fields).headers.get("x-request-changed")
        return options(fake), changed

    assert sent() == (limit, None)
    assert sent(options={"num_ctx": 4096}) == ({"num_ctx": 4096, **limit}, None)
    assert sent() == ({"num_ctx": 4096, **limit}, "num_ctx=4096")
    assert sent(options={"num_ctx": 8192}) == ({"num_ctx": 8192, **limit}, None)
    assert sent(options={"num_ctx": 2048}) == ({"num_ctx": 8192, **limit}, "num_ctx=8192")
    assert sent(model="fast", path="/chat") == ({"num_ctx": 8192, **limit}, "model=m:1, num_ctx=8192")
    assert sent(model="M:1", options={"num_ctx": "x"}) == ({"num_ctx": "x", **limit}, None)
    assert sent(model="other:1") == (limit, None)
    # Nothing in OpenAI's API sets it.
    assert sent(path="/v1/chat/completions") == (None, None)


def test_while_the_largest_context_is_loaded_others_get_it_already(fake: FakeOllama, start: Start) -> None:
    fake.answer("slow:1", Do.WAIT, DONE)
    url = start(GATEWAY_RUNNER_OPTIONS="largest", GATEWAY_SLOTS="2")
    body = {"model": "slow:1", "messages": [{"role": "user", "content": "hi"}]}
    with (
        httpx.stream("POST", f"{url}/chat", json={**body, "options": {"num_ctx": 8192}}, timeout=30) as first,
        httpx.stream("POST", f"{url}/chat", json=body, timeout=30) as second,
    ):
        wait_until(lambda: len(fake.received) == 2, 10, "both are at the model server")
        fake.go_on()
        assert first.read()
        assert second.read()
    assert options(fake) == {"num_ctx": 8192}


@pytest.mark.parametrize("path", ["/chat", "/api/chat", "/api/generate"])
@pytest.mark.parametrize("stream", [True, False])
def test_a_context_that_fails_is_nobody_elses(
    fake: FakeOllama, start: Start, path: str, stream: bool
) -> None:
    fake.answer("full", b'{"error":"model requires more system memory than is available"}', status=500)
    url = start(GATEWAY_RUNNER_OPTIONS="largest")
    fields: dict[str, Any] = {
        "options": {"num_ctx": 131072},
        "answers": "full",
        "stream": stream or path == "/chat",
    }
    assert ask(url, path=path, **fields).status_code >= 500
    assert ask(url).status_code == 200
    assert options(fake) is None


def test_without_keys_nobody_is_kept_from_keep_alive_unless_it_is_set(fake: FakeOllama, start: Start) -> None:
    ask(start(), keep_alive=-1)
    assert json.loads(fake.received[-1].body)["keep_alive"] == -1
    url = start(GATEWAY_KEEP_ALIVE="admin")
    assert ask(url, keep_alive=-1).headers["x-request-changed"] == "keep_alive removed"
    assert ask(url, messages=[], keep_alive=0).status_code == 403
    url = start(GATEWAY_KEEP_ALIVE="admin", GATEWAY_ADMIN_API="on")
    assert ask(url, messages=[], keep_alive=0).status_code == 200

"""Errors before the answer, which each client raises as its own exception."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
import pytest_asyncio

from tests.fakes.ollama import FakeOllama
from tests.integration.programs import MAX_BODY, nginx, nginx_and_gateway
from tests.integration.stacks import MODEL
from tests.model.clients.answers import REASON, compact
from tests.model.clients.libraries import (
    AsyncClients,
    Clients,
    Library,
    async_clients_of,
    clients_of,
    refused,
    shared_loop,
)
from tests.model.clients.questions import text_of
from tests.model.clients.tools import ANTHROPIC_TOOL, TOOL
from tests.model.clients.ways import Way, every_way
from tests.processes import free_port

USER: Any = {"role": "user", "content": "hi"}
NO_SCHEMA: Any = {"type": "json_schema", "json_schema": {"name": "none", "schema": {"type": 3}}}


@pytest.mark.parametrize(
    ("library", "status", "says", "ask"),
    [
        ("ollama", 400, "does not support thinking", lambda to: to.ollama.chat(MODEL, [USER], think=True)),
        ("ollama", 400, "does not support tools", lambda to: to.ollama.chat(MODEL, [USER], tools=[TOOL])),
        (
            "ollama",
            500,
            'option "num_predict" must be of type integer',
            lambda to: to.ollama.generate(MODEL, "hi", options={"num_predict": "many"}),
        ),
        (
            "ollama",
            400,
            "type must be a string",
            lambda to: to.ollama.generate(MODEL, "hi", format={"type": 3}),
        ),
        (
            "openai",
            400,
            "is too short - 'messages'",
            lambda to: to.openai.chat.completions.create(model=MODEL, messages=[]),
        ),
        (
            "openai",
            400,
            "model is required",
            lambda to: to.openai.chat.completions.create(model="", messages=[USER]),
        ),
        (
            "openai",
            400,
            "cannot unmarshal number",
            lambda to: to.openai.completions.create(model=MODEL, prompt=3),
        ),
        (
            "openai",
            400,
            "does not support tools",
            lambda to: to.openai.chat.completions.create(model=MODEL, messages=[USER], tools=[TOOL]),
        ),
        (
            "openai",
            400,
            "type must be a string",
            lambda to: to.openai.chat.completions.create(
                model=MODEL, messages=[USER], response_format=NO_SCHEMA
            ),
        ),
        (
            "anthropic",
            400,
            "max_tokens is required",
            lambda to: to.anthropic.messages.create(model=MODEL, messages=[USER], max_tokens=0),
        ),
        (
            "anthropic",
            400,
            "messages is required",
            lambda to: to.anthropic.messages.create(model=MODEL, messages=[], max_tokens=5),
        ),
        (
            "anthropic",
            400,
            "does not support tools",
            lambda to: to.anthropic.messages.create(
                model=MODEL, messages=[USER], max_tokens=5, tools=[ANTHROPIC_TOOL]
            ),
        ),
    ],
)
def test_a_bad_request_gets_ollamas_refusal(
    clients: Clients, library: Library, status: int, says: str, ask: Callable[[Clients], object]
) -> None:
    with refused(library, status, says):
        ask(clients)


@every_way
def test_a_body_over_the_limit_is_413(way: Way, faked: Clients) -> None:
    with refused(way.library, 413, str(MAX_BODY)):
        way.whole(faked, "m" * (MAX_BODY + 1), 5)


@every_way
@pytest.mark.parametrize("status", [500, 503])
def test_an_error_before_the_answer_has_its_status(
    way: Way, faked: Clients, fake: FakeOllama, status: int
) -> None:
    body = {"type": "error", "error": REASON if way.library == "ollama" else {"message": REASON}}
    fake.answer("fails", compact(body), status=status)
    with refused(way.library, status, REASON):
        list(way.ask(faked, "fails", 5))
    with refused(way.library, status, REASON):
        way.whole(faked, "fails", 5)


@pytest.fixture(scope="module")
def backend_down(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with nginx_and_gateway(f"http://127.0.0.1:{free_port()}", tmp_path_factory.mktemp("down")) as url:
        yield url


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def async_down(backend_down: str) -> AsyncIterator[AsyncClients]:
    async with async_clients_of(backend_down) as all_three:
        yield all_three


@pytest.fixture(scope="module", params=["the backend", "the gateway"])
def down(request: pytest.FixtureRequest, backend_down: str) -> Iterator[Clients]:
    with ExitStack() as stack:
        url = backend_down if request.param == "the backend" else stack.enter_context(nginx(free_port()))[1]
        yield stack.enter_context(clients_of(url))


@every_way
def test_an_upstream_that_is_down_is_502(way: Way, down: Clients) -> None:
    with refused(way.library, 502):
        list(way.ask(down, MODEL, 5))
    with refused(way.library, 502):
        way.whole(down, MODEL, 5)


@every_way
@shared_loop
async def test_an_upstream_that_is_down_is_502_for_the_async_client(
    way: Way, async_down: AsyncClients
) -> None:
    with refused(way.library, 502, "cannot be reached"):
        await text_of(way.ask_async(async_down, MODEL, 5))

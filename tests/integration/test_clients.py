"""The clients people use, unchanged but for the base URL, against the whole chain.

What they must raise is what they raise against Ollama 0.24 itself.
"""

import asyncio
import json
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator
from contextlib import AsyncExitStack, ExitStack, aclosing, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import anthropic
import httpx
import ollama
import openai
import pytest
import pytest_asyncio
from pydantic import BaseModel

from gateway.access.allow_list import EVERY_MODEL
from gateway.access.key_file import KeyFile
from tests.fakes.ollama import DONE, Do, FakeOllama, Step, line
from tests.integration.programs import MAX_BODY, gateway, nginx
from tests.integration.stacks import MODEL, Running, seconds_until_free, started
from tests.processes import free_port, wait_until

STORY = "Tell me a very long story."
BEGINNING = "Once upon a time"
LONG = 2000
"""Tokens: far more than a client that disconnects waits for."""
GREEDY = {"temperature": 0}
"""The same words every time, so that an answer that is to be long is long."""


@dataclass(frozen=True)
class Clients:
    ollama: ollama.Client
    openai: openai.OpenAI
    anthropic: anthropic.Anthropic


@dataclass(frozen=True)
class AsyncClients:
    ollama: ollama.AsyncClient
    openai: openai.AsyncOpenAI
    anthropic: anthropic.AsyncAnthropic


# OpenAI's and Anthropic's clients would retry after a pause, and so hide the first answer.


@contextmanager
def clients_of(url: str, timeout: float = 60) -> Iterator[Clients]:
    settings: dict[str, Any] = {"api_key": "any", "max_retries": 0, "timeout": timeout}
    with ExitStack() as stack:
        yield Clients(
            stack.enter_context(ollama.Client(url, timeout=timeout)),
            stack.enter_context(openai.OpenAI(base_url=f"{url}/v1", **settings)),
            stack.enter_context(anthropic.Anthropic(base_url=url, **settings)),
        )


@asynccontextmanager
async def async_clients_of(url: str) -> AsyncIterator[AsyncClients]:
    settings: dict[str, Any] = {"api_key": "any", "max_retries": 0, "timeout": 60}
    async with AsyncExitStack() as stack:
        yield AsyncClients(
            await stack.enter_async_context(ollama.AsyncClient(url, timeout=60)),
            await stack.enter_async_context(openai.AsyncOpenAI(base_url=f"{url}/v1", **settings)),
            await stack.enter_async_context(anthropic.AsyncAnthropic(base_url=url, **settings)),
        )


# Each way to request a streaming answer: an iterator over the text, in the pieces that the client yields.

Asked = Generator[str, None, None]
AsyncAsked = AsyncGenerator[str, None]


class ResponseFailed(Exception):
    """OpenAI's client reports a failed response as an event; this raises it."""


def ollama_chat(to: Clients, model: str, tokens: int) -> Asked:
    options = {"num_predict": tokens, "temperature": 0}
    for part in to.ollama.chat(model, [{"role": "user", "content": STORY}], stream=True, options=options):
        yield part.message.content or ""


async def ollama_chat_async(to: AsyncClients, model: str, tokens: int) -> AsyncAsked:
    options = {"num_predict": tokens, "temperature": 0}
    messages = [{"role": "user", "content": STORY}]
    async for part in await to.ollama.chat(model, messages, stream=True, options=options):
        yield part.message.content or ""


def ollama_generate(to: Clients, model: str, tokens: int) -> Asked:
    options = {"num_predict": tokens, "temperature": 0}
    for part in to.ollama.generate(model, STORY, stream=True, options=options):
        yield part.response or ""


async def ollama_generate_async(to: AsyncClients, model: str, tokens: int) -> AsyncAsked:
    options = {"num_predict": tokens, "temperature": 0}
    async for part in await to.ollama.generate(model, STORY, stream=True, options=options):
        yield part.response or ""


def openai_chat(to: Clients, model: str, tokens: int) -> Asked:
    with to.openai.chat.completions.create(
        model=model,
        messages=[{"role": "user", "content": STORY}],
        max_tokens=tokens,
        temperature=0,
        stream=True,
    ) as stream:
        for chunk in stream:
            yield chunk.choices[0].delta.content or ""


async def openai_chat_async(to: AsyncClients, model: str, tokens: int) -> AsyncAsked:
    async with await to.openai.chat.completions.create(
        model=model,
        messages=[{"role": "user", "content": STORY}],
        max_tokens=tokens,
        temperature=0,
        stream=True,
    ) as stream:
        async for chunk in stream:
            yield chunk.choices[0].delta.content or ""


def openai_completion(to: Clients, model: str, tokens: int) -> Asked:
    with to.openai.completions.create(
        model=model, prompt=BEGINNING, max_tokens=tokens, temperature=0, stream=True
    ) as stream:
        for chunk in stream:
            yield chunk.choices[0].text


async def openai_completion_async(to: AsyncClients, model: str, tokens: int) -> AsyncAsked:
    async with await to.openai.completions.create(
        model=model, prompt=BEGINNING, max_tokens=tokens, temperature=0, stream=True
    ) as stream:
        async for chunk in stream:
            yield chunk.choices[0].text


def openai_response(to: Clients, model: str, tokens: int) -> Asked:
    with to.openai.responses.create(
        model=model, input=STORY, max_output_tokens=tokens, temperature=0, stream=True
    ) as stream:
        for event in stream:
            if event.type == "response.output_text.delta":
                yield event.delta
            elif event.type == "response.failed":
                raise ResponseFailed(event.response.error)


async def openai_response_async(to: AsyncClients, model: str, tokens: int) -> AsyncAsked:
    async with await to.openai.responses.create(
        model=model, input=STORY, max_output_tokens=tokens, temperature=0, stream=True
    ) as stream:
        async for event in stream:
            if event.type == "response.output_text.delta":
                yield event.delta
            elif event.type == "response.failed":
                raise ResponseFailed(event.response.error)


def anthropic_message(to: Clients, model: str, tokens: int) -> Asked:
    with to.anthropic.messages.stream(
        model=model, messages=[{"role": "user", "content": STORY}], max_tokens=tokens, extra_body=GREEDY
    ) as stream:
        yield from stream.text_stream


async def anthropic_message_async(to: AsyncClients, model: str, tokens: int) -> AsyncAsked:
    async with to.anthropic.messages.stream(
        model=model, messages=[{"role": "user", "content": STORY}], max_tokens=tokens, extra_body=GREEDY
    ) as stream:
        async for text in stream.text_stream:
            yield text


# The same requests, without streaming.


def whole_ollama_chat(to: Clients, model: str, tokens: int) -> object:
    options = {"num_predict": tokens, "temperature": 0}
    return to.ollama.chat(model, [{"role": "user", "content": STORY}], options=options)


def whole_ollama_generate(to: Clients, model: str, tokens: int) -> object:
    return to.ollama.generate(model, STORY, options={"num_predict": tokens, "temperature": 0})


def whole_openai_chat(to: Clients, model: str, tokens: int) -> object:
    return to.openai.chat.completions.create(
        model=model, messages=[{"role": "user", "content": STORY}], max_tokens=tokens, temperature=0
    )


def whole_openai_completion(to: Clients, model: str, tokens: int) -> object:
    return to.openai.completions.create(model=model, prompt=BEGINNING, max_tokens=tokens, temperature=0)


def whole_openai_response(to: Clients, model: str, tokens: int) -> object:
    return to.openai.responses.create(model=model, input=STORY, max_output_tokens=tokens, temperature=0)


def whole_anthropic_message(to: Clients, model: str, tokens: int) -> object:
    return to.anthropic.messages.create(
        model=model, messages=[{"role": "user", "content": STORY}], max_tokens=tokens, extra_body=GREEDY
    )


# The fake's answers, as Ollama sends them.


def compact(fields: dict[str, Any]) -> bytes:
    return json.dumps(fields, separators=(",", ":")).encode()


def data(fields: dict[str, Any]) -> bytes:
    return b"data: %b\n\n" % compact(fields)


def event(kind: str, **fields: Any) -> bytes:
    return b"event: %b\n%b" % (kind.encode(), data({"type": kind, **fields}))


def generated(text: str, **fields: Any) -> bytes:
    return compact({"model": "m", "response": text, "done": False, **fields}) + b"\n"


def chat_chunk(reason: str | None = None, **delta: Any) -> bytes:
    choice = {"index": 0, "delta": {"role": "assistant", "content": "", **delta}, "finish_reason": reason}
    head = {"id": "chatcmpl-7", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    return data({**head, "choices": [choice]})


def completion_chunk(text: str, reason: str | None = None) -> bytes:
    choice = {"text": text, "index": 0, "finish_reason": reason}
    head = {"id": "cmpl-7", "object": "text_completion", "created": 1}
    return data({**head, "choices": [choice], "model": "m"})


def response(status: str, *output: dict[str, Any]) -> dict[str, Any]:
    head = {"id": "resp_7", "object": "response", "created_at": 1, "model": "m", "tools": []}
    return {**head, "status": status, "output": list(output), "error": None, "parallel_tool_calls": True}


def response_item(text: str, status: str) -> dict[str, Any]:
    content = [{"type": "output_text", "text": text, "annotations": [], "logprobs": []}] if text else []
    return {"id": "msg_7", "type": "message", "role": "assistant", "status": status, "content": content}


def response_event(number: int, kind: str, **fields: Any) -> bytes:
    return event(f"response.{kind}", sequence_number=number, **fields)


def text_event(number: int, kind: str, **fields: Any) -> bytes:
    place = {"item_id": "msg_7", "output_index": 0, "content_index": 0}
    return response_event(number, kind, **place, **fields)


PART = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
RESPONSE = (
    response_event(0, "created", response=response("in_progress")),
    response_event(1, "output_item.added", output_index=0, item=response_item("", "in_progress")),
    text_event(2, "content_part.added", part=PART),
    text_event(3, "output_text.delta", delta="Hel", logprobs=[]),
    text_event(4, "output_text.delta", delta="lo", logprobs=[]),
    text_event(5, "output_text.done", text="Hello", logprobs=[]),
    text_event(6, "content_part.done", part={**PART, "text": "Hello"}),
    response_event(7, "output_item.done", output_index=0, item=response_item("Hello", "completed")),
    response_event(8, "completed", response=response("completed", response_item("Hello", "completed"))),
)


def message_start() -> bytes:
    message = {"id": "msg_7", "type": "message", "role": "assistant", "model": "m", "content": []}
    return event("message_start", message={**message, "usage": {"input_tokens": 11, "output_tokens": 0}})


def message_end(reason: str) -> bytes:
    usage = {"input_tokens": 11, "output_tokens": 3}
    return event("message_delta", delta={"stop_reason": reason}, usage=usage)


MESSAGE = (
    message_start(),
    event("content_block_start", index=0, content_block={"type": "text", "text": ""}),
    event("content_block_delta", index=0, delta={"type": "text_delta", "text": "Hel"}),
    event("content_block_delta", index=0, delta={"type": "text_delta", "text": "lo"}),
    event("content_block_stop", index=0),
    message_end("end_turn"),
    event("message_stop"),
)
REASON = "out of memory"
NATIVE_ERROR = compact({"error": REASON}) + b"\n"
OPENAI_ERROR = data({"error": {"message": REASON, "type": "api_error", "param": None, "code": None}})

Library = Literal["ollama", "openai", "anthropic"]


@dataclass(frozen=True)
class Way:
    """A route with the fake's `answer`, Hello, and its `error`."""

    library: Library
    ask: Callable[[Clients, str, int], Asked]
    ask_async: Callable[[AsyncClients, str, int], AsyncAsked]
    whole: Callable[[Clients, str, int], object]
    answer: tuple[bytes, ...]
    error: bytes


CHAT = Way(
    "ollama",
    ollama_chat,
    ollama_chat_async,
    whole_ollama_chat,
    (line("Hel"), line("lo"), DONE),
    NATIVE_ERROR,
)
GENERATE = Way(
    "ollama",
    ollama_generate,
    ollama_generate_async,
    whole_ollama_generate,
    (generated("Hel"), generated("lo"), generated("", done=True, done_reason="stop")),
    NATIVE_ERROR,
)
OPENAI_CHAT = Way(
    "openai",
    openai_chat,
    openai_chat_async,
    whole_openai_chat,
    (chat_chunk(content="Hel"), chat_chunk(content="lo"), chat_chunk("stop"), b"data: [DONE]\n\n"),
    OPENAI_ERROR,
)
OPENAI_COMPLETION = Way(
    "openai",
    openai_completion,
    openai_completion_async,
    whole_openai_completion,
    (completion_chunk("Hel"), completion_chunk("lo"), completion_chunk("", "stop"), b"data: [DONE]\n\n"),
    OPENAI_ERROR,
)
OPENAI_RESPONSE = Way(
    "openai",
    openai_response,
    openai_response_async,
    whole_openai_response,
    RESPONSE,
    b"event: error\n" + OPENAI_ERROR,
)
ANTHROPIC_MESSAGE = Way(
    "anthropic",
    anthropic_message,
    anthropic_message_async,
    whole_anthropic_message,
    MESSAGE,
    event("error", error={"type": "api_error", "message": REASON}),
)
WAYS = [CHAT, GENERATE, OPENAI_CHAT, OPENAI_COMPLETION, OPENAI_RESPONSE, ANTHROPIC_MESSAGE]

# The async clients exist for the whole module, so their loop must too.
shared_loop = pytest.mark.asyncio(loop_scope="module")
every_way = pytest.mark.parametrize("way", WAYS, ids=lambda way: way.ask.__name__)

ERRORS: dict[Library, dict[int, type[Exception]]] = {
    "ollama": dict.fromkeys((400, 404, 410, 413, 500, 502, 503), ollama.ResponseError),
    "openai": {
        400: openai.BadRequestError,
        404: openai.NotFoundError,
        **dict.fromkeys((410, 413), openai.APIStatusError),
        **dict.fromkeys((500, 502, 503), openai.InternalServerError),
    },
    "anthropic": {
        400: anthropic.BadRequestError,
        404: anthropic.NotFoundError,
        **dict.fromkeys((410, 413), anthropic.APIStatusError),
        **dict.fromkeys((500, 502, 503), anthropic.InternalServerError),
    },
}
MIDWAY: dict[Library, tuple[type[Exception], ...]] = {
    "ollama": (ollama.ResponseError,),
    "openai": (openai.APIError, ResponseFailed),
    "anthropic": (anthropic.APIStatusError,),
}
TIMEOUTS: dict[Library, type[Exception]] = {
    "ollama": httpx.ReadTimeout,
    "openai": openai.APITimeoutError,
    "anthropic": anthropic.APITimeoutError,
}


@contextmanager
def refused(library: Library, status: int, says: str | None = None) -> Iterator[None]:
    """Expects the client's own exception for `status`, with the server's message."""
    with pytest.raises(ERRORS[library][status], match=says) as caught:
        yield
    error = caught.value
    assert isinstance(error, ollama.ResponseError | openai.APIStatusError | anthropic.APIStatusError)
    assert error.status_code == status


async def text_of(asked: AsyncAsked) -> str:
    return "".join([piece async for piece in asked])


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with started(tmp_path_factory.mktemp("clients")) as running:
        yield running


@pytest.fixture(scope="module")
def clients(stack: Running) -> Iterator[Clients]:
    with clients_of(stack.url) as all_three:
        yield all_three


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def async_clients(stack: Running) -> AsyncIterator[AsyncClients]:
    async with async_clients_of(stack.url) as all_three:
        yield all_three


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeOllama]:
    with FakeOllama().running() as server:
        yield server


@contextmanager
def edge(upstream: str, folder: Path, **environment: str) -> Iterator[str]:
    """The URL of an nginx in front of a gateway in front of `upstream`."""
    with gateway(upstream, folder, **environment) as (_, url), nginx(urlsplit(url).port or 0) as (_, outside):
        yield outside


@pytest.fixture(scope="module")
def edge_url(fake: FakeOllama, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with edge(fake.url, tmp_path_factory.mktemp("edge")) as url:
        yield url


@pytest.fixture(scope="module")
def impatient(fake: FakeOllama, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clients]:
    limits = {"EARLY_COMMIT": "0.1", "HEARTBEAT": "0.1", "FIRST_BYTE_TIMEOUT": "0.5"}
    folder = tmp_path_factory.mktemp("impatient")
    environment = {f"GATEWAY_{name}": value for name, value in limits.items()}
    with edge(fake.url, folder, **environment) as url, clients_of(url) as all_three:
        yield all_three


@pytest.fixture(scope="module")
def brief(fake: FakeOllama, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clients]:
    """Of a gateway whose longest answer takes a second; they repeat requests as they do by default."""
    settings = {"GATEWAY_MAX_ANSWER_SECONDS": "1"}
    with edge(fake.url, tmp_path_factory.mktemp("brief"), **settings) as url, clients_of(url) as all_three:
        yield Clients(
            all_three.ollama,
            all_three.openai.with_options(max_retries=2),
            all_three.anthropic.with_options(max_retries=2),
        )


@pytest.fixture(scope="module")
def faked(edge_url: str) -> Iterator[Clients]:
    with clients_of(edge_url) as all_three:
        yield all_three


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def async_faked(edge_url: str) -> AsyncIterator[AsyncClients]:
    async with async_clients_of(edge_url) as all_three:
        yield all_three


@every_way
def test_an_answer_streams(way: Way, clients: Clients) -> None:
    pieces = list(way.ask(clients, MODEL, 20))
    assert len(pieces) > 5
    assert "".join(pieces).strip()


@every_way
@shared_loop
async def test_an_answer_streams_to_the_async_client(way: Way, async_clients: AsyncClients) -> None:
    pieces = [piece async for piece in way.ask_async(async_clients, MODEL, 20)]
    assert len(pieces) > 5
    assert "".join(pieces).strip()


def test_ollamas_client_gets_a_whole_answer(clients: Clients) -> None:
    options = {"num_predict": 5, "temperature": 0}
    chat = clients.ollama.chat(MODEL, [{"role": "user", "content": STORY}], options=options)
    assert (chat.model, chat.done, chat.done_reason, chat.eval_count) == (MODEL, True, "length", 5)
    assert chat.message.content
    generate = clients.ollama.generate(MODEL, STORY, options=options)
    assert (generate.model, generate.done, generate.done_reason) == (MODEL, True, "length")
    assert generate.response
    again = clients.ollama.generate(MODEL, "Go on.", context=generate.context, options=options)
    assert (again.prompt_eval_count or 0) > (generate.prompt_eval_count or 0)


def test_ollamas_last_part_of_a_stream_has_the_counts(clients: Clients) -> None:
    messages = [{"role": "user", "content": STORY}]
    *_, last = clients.ollama.chat(MODEL, messages, stream=True, options={"num_predict": 5, "temperature": 0})
    assert (last.done, last.done_reason, last.eval_count) == (True, "length", 5)
    assert last.total_duration
    assert last.prompt_eval_count


def test_openais_client_gets_a_whole_answer(clients: Clients) -> None:
    chat = clients.openai.chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": STORY}], max_tokens=5
    )
    assert (chat.object, chat.model, chat.choices[0].finish_reason) == ("chat.completion", MODEL, "length")
    assert chat.choices[0].message.role == "assistant"
    assert chat.choices[0].message.content
    assert chat.usage
    assert chat.usage.completion_tokens == 5
    assert chat.usage.total_tokens == chat.usage.prompt_tokens + 5
    completion = clients.openai.completions.create(model=MODEL, prompt=BEGINNING, max_tokens=5, temperature=0)
    assert (completion.object, completion.choices[0].finish_reason) == ("text_completion", "length")
    assert completion.choices[0].text
    assert completion.usage
    assert completion.usage.completion_tokens == 5


def test_openais_last_chunk_of_a_stream_has_the_usage_if_it_is_asked_for(clients: Clients) -> None:
    *chunks, last = clients.openai.chat.completions.create(
        model=MODEL,
        messages=[{"role": "user", "content": STORY}],
        max_tokens=5,
        temperature=0,
        stream=True,
        stream_options={"include_usage": True},
    )
    assert last.choices == []
    assert last.usage
    assert last.usage.completion_tokens == 5
    assert chunks[-1].choices[0].finish_reason == "length"
    assert len({chunk.id for chunk in [*chunks, last]}) == 1


def test_anthropics_client_gets_a_whole_answer(clients: Clients) -> None:
    message = clients.anthropic.messages.create(
        model=MODEL,
        messages=[{"role": "user", "content": STORY}],
        max_tokens=5,
        system="Be brief.",
        extra_body=GREEDY,
    )
    assert (message.type, message.role, message.stop_reason) == ("message", "assistant", "max_tokens")
    assert (message.model, message.usage.output_tokens) == (MODEL, 5)
    assert message.content[0].type == "text"
    assert message.content[0].text


def test_anthropics_client_puts_the_message_together_from_a_stream(clients: Clients) -> None:
    with clients.anthropic.messages.stream(
        model=MODEL, messages=[{"role": "user", "content": STORY}], max_tokens=5, extra_body=GREEDY
    ) as stream:
        text = "".join(stream.text_stream)
        message = stream.get_final_message()
    assert message.content[0].type == "text"
    assert message.content[0].text == text
    assert (message.stop_reason, message.usage.output_tokens) == ("max_tokens", 5)


@shared_loop
async def test_the_async_clients_get_whole_answers(async_clients: AsyncClients) -> None:
    local, chat, message = await asyncio.gather(
        async_clients.ollama.chat(
            MODEL,
            [{"role": "user", "content": STORY}],
            options={"num_predict": 5, "temperature": 0},
        ),
        async_clients.openai.chat.completions.create(
            model=MODEL, messages=[{"role": "user", "content": STORY}], max_tokens=5, temperature=0
        ),
        async_clients.anthropic.messages.create(
            model=MODEL, messages=[{"role": "user", "content": STORY}], max_tokens=5, extra_body=GREEDY
        ),
    )
    assert local.eval_count == 5
    assert chat.usage
    assert chat.usage.completion_tokens == message.usage.output_tokens == 5


def test_models_are_listed_and_retrieved(clients: Clients) -> None:
    (model,) = clients.ollama.list().models
    assert model.model == MODEL
    assert model.details
    assert model.details.family == "llama"
    assert [model.id for model in clients.openai.models.list()] == [MODEL]
    assert ":" in MODEL
    assert clients.openai.models.retrieve(MODEL).id == MODEL
    # Ollama answers these in OpenAI's shape, which Anthropic's client takes too.
    assert [model.id for model in clients.anthropic.models.list()] == [MODEL]
    assert clients.anthropic.models.retrieve(MODEL).id == MODEL


@shared_loop
async def test_models_are_listed_and_retrieved_by_the_async_clients(async_clients: AsyncClients) -> None:
    assert [model.model for model in (await async_clients.ollama.list()).models] == [MODEL]
    assert [model.id async for model in async_clients.openai.models.list()] == [MODEL]
    assert (await async_clients.openai.models.retrieve(MODEL)).id == MODEL
    assert (await async_clients.anthropic.models.retrieve(MODEL)).id == MODEL
    assert (await async_clients.ollama.show(MODEL)).modelinfo
    with refused("openai", 404):
        await async_clients.openai.models.retrieve("no:body")


def test_a_model_is_shown_and_listed_as_running(clients: Clients) -> None:
    shown = clients.ollama.show(MODEL)
    assert shown.modelinfo
    assert shown.modelinfo["general.architecture"] == "llama"
    assert "completion" in (shown.capabilities or [])
    clients.ollama.generate(MODEL)  # loads it
    (running,) = clients.ollama.ps().models
    assert (running.model, running.context_length) == (MODEL, 4096)
    assert running.expires_at


def ollama_embed(to: Clients) -> object:
    return to.ollama.embed(MODEL, ["one", "two"]).embeddings[1][0]


def ollama_embeddings(to: Clients) -> object:
    return to.ollama.embeddings(MODEL, "one").embedding[0]


def openai_embedding(to: Clients) -> object:
    return to.openai.embeddings.create(model=MODEL, input="one").data[0].embedding[0]


def openai_whole_response(to: Clients) -> object:
    return to.openai.responses.create(model=MODEL, input=STORY, max_output_tokens=16).output_text


@pytest.mark.parametrize(
    "ask",
    [ollama_embed, ollama_embeddings, openai_embedding, openai_whole_response],
    ids=lambda f: f.__name__,
)
def test_a_whole_answer_of_another_kind_reaches_its_client(
    clients: Clients, ask: Callable[[Clients], object]
) -> None:
    assert ask(clients)


def test_openais_client_gets_a_transcription(faked: Clients, fake: FakeOllama) -> None:
    fake.answer("listens", b'{"text":"Hello"}')
    recording = ("hi.wav", bytes(range(256)) * 10)
    got = faked.openai.audio.transcriptions.create(model="listens", file=recording, prompt="a greeting")
    assert got.text == "Hello"
    with refused("openai", 404, "model 'absent' not found"):
        faked.openai.audio.transcriptions.create(model="absent", file=recording)


def test_clients_expose_the_request_id(faked: Clients, fake: FakeOllama) -> None:
    question: Any = [{"role": "user", "content": STORY}]
    fake.answer("m", b'{"type":"message","content":[]}')
    answer = faked.anthropic.messages.with_raw_response.create(
        model="m", messages=question, max_tokens=5, extra_headers={"X-Request-Id": "ours"}
    )
    assert answer.request_id == "req_ours"
    with pytest.raises(anthropic.NotFoundError) as caught:
        faked.anthropic.messages.create(model="absent", messages=question, max_tokens=5)
    assert str(caught.value.request_id).startswith("req_")
    assert isinstance(caught.value.body, dict)
    assert caught.value.body["request_id"] == caught.value.request_id
    with pytest.raises(openai.NotFoundError) as failed:
        faked.openai.chat.completions.create(model="absent", messages=question)
    assert re.fullmatch(r"\w{32}", str(failed.value.request_id))


def test_clients_find_their_routes_behind_an_address_with_extra_slashes(
    fake: FakeOllama, edge_url: str
) -> None:
    fake.answer("m", *OPENAI_CHAT.answer)
    with clients_of(f"{edge_url}//") as careless:
        assert "".join(openai_chat(careless, "m", 5)) == "Hello"
        fake.answer("m", *CHAT.answer)
        assert "".join(ollama_chat(careless, "m", 5)) == "Hello"


def test_anthropics_client_may_send_two_keys_of_which_one_is_for_here(
    fake: FakeOllama, tmp_path: Path
) -> None:
    """Claude Code does so if the user is logged in and also has a key for a gateway."""
    key = KeyFile(tmp_path / "keys").create("me", "user", EVERY_MODEL, None)
    fake.answer("m", *MESSAGE)
    with edge(fake.url, tmp_path, GATEWAY_KEYS_FILE=str(tmp_path / "keys")) as url:
        for token, other in ((key, "other"), ("other", key)):
            also = {"X-Api-Key": other}
            with anthropic.Anthropic(auth_token=token, base_url=url, default_headers=also) as client:
                question: Any = [{"role": "user", "content": STORY}]
                with client.messages.stream(model="m", messages=question, max_tokens=5) as got:
                    assert "".join(got.text_stream) == "Hello"


WEATHER: dict[str, Any] = {
    "name": "weather",
    "description": "tells a city's weather",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
TOOL: Any = {"type": "function", "function": WEATHER}
ANTHROPIC_TOOL: Any = {
    "name": "weather",
    "description": WEATHER["description"],
    "input_schema": WEATHER["parameters"],
}
CALL = {"id": "call_7", "function": {"index": 0, "name": "weather", "arguments": {"city": "Paris"}}}
OPENAI_CALL = {
    "id": "call_7",
    "index": 0,
    "type": "function",
    "function": {"name": "weather", "arguments": '{"city":"Paris"}'},
}


def test_ollamas_client_gets_tool_calls(faked: Clients, fake: FakeOllama) -> None:
    asked = line("", message={"role": "assistant", "content": "", "tool_calls": [CALL]})
    fake.answer("tools", asked, DONE)
    messages = [{"role": "user", "content": "Weather?"}]
    first, last = faked.ollama.chat("tools", messages, tools=[TOOL], stream=True)
    assert first.message.tool_calls
    assert first.message.tool_calls[0].function.arguments == {"city": "Paris"}
    assert last.done
    fake.answer("tools", asked.replace(b'"done":false', b'"done":true'))
    (call,) = faked.ollama.chat("tools", messages, tools=[TOOL]).message.tool_calls or []
    assert (call.function.name, call.function.arguments) == ("weather", {"city": "Paris"})


def test_openais_client_gets_tool_calls(faked: Clients, fake: FakeOllama) -> None:
    fake.answer("tools", chat_chunk(tool_calls=[OPENAI_CALL]), chat_chunk("tool_calls"), b"data: [DONE]\n\n")
    with faked.openai.chat.completions.stream(
        model="tools", messages=[{"role": "user", "content": "Weather?"}], tools=[TOOL]
    ) as stream:
        choice = stream.get_final_completion().choices[0]
    (call,) = choice.message.tool_calls or []
    assert (call.id, call.function.arguments) == ("call_7", '{"city":"Paris"}')
    assert choice.finish_reason == "tool_calls"
    message = {"role": "assistant", "content": "", "tool_calls": [OPENAI_CALL]}
    whole = {"index": 0, "message": message, "finish_reason": "tool_calls"}
    fake.answer("tools", compact({"id": "chatcmpl-7", "model": "m", "choices": [whole]}))
    answer = faked.openai.chat.completions.create(
        model="tools", messages=[{"role": "user", "content": "Weather?"}], tools=[TOOL]
    )
    (same,) = answer.choices[0].message.tool_calls or []
    assert same.type == "function"
    assert (same.id, same.function.name) == ("call_7", "weather")


def test_anthropics_client_gets_tool_calls(faked: Clients, fake: FakeOllama) -> None:
    use = {"type": "tool_use", "id": "call_7", "name": "weather"}
    fake.answer(
        "tools",
        message_start(),
        event("content_block_start", index=0, content_block={**use, "input": {}}),
        event(
            "content_block_delta",
            index=0,
            delta={"type": "input_json_delta", "partial_json": '{"city":"Paris"}'},
        ),
        event("content_block_stop", index=0),
        message_end("tool_use"),
        event("message_stop"),
    )
    with faked.anthropic.messages.stream(
        model="tools",
        messages=[{"role": "user", "content": "Weather?"}],
        max_tokens=50,
        tools=[ANTHROPIC_TOOL],
    ) as stream:
        message = stream.get_final_message()
    assert message.content[0].type == "tool_use"
    assert (message.content[0].name, message.content[0].input) == ("weather", {"city": "Paris"})
    assert message.stop_reason == "tool_use"


class Sky(BaseModel, extra="forbid"):
    colour: Literal["blue", "green"]
    clear: bool


def test_an_answer_follows_a_schema(clients: Clients) -> None:
    question = "Is the sky blue? Answer in JSON."
    options = {"num_predict": 100, "temperature": 0}
    schema = Sky.model_json_schema()
    chat = clients.ollama.chat(MODEL, [{"role": "user", "content": question}], format=schema, options=options)
    assert Sky.model_validate_json(chat.message.content or "")
    generate = clients.ollama.generate(MODEL, question, format=schema, options=options)
    assert Sky.model_validate_json(generate.response or "")
    parts = clients.ollama.generate(MODEL, question, format=schema, options=options, stream=True)
    assert Sky.model_validate_json("".join(part.response or "" for part in parts))
    parsed = clients.openai.chat.completions.parse(
        model=MODEL,
        messages=[{"role": "user", "content": question}],
        response_format=Sky,
        max_tokens=100,
        temperature=0,
    )
    assert isinstance(parsed.choices[0].message.parsed, Sky)


@shared_loop
async def test_an_answer_follows_a_schema_for_the_async_clients(async_clients: AsyncClients) -> None:
    question = "Is the sky blue? Answer in JSON."
    generate = await async_clients.ollama.generate(
        MODEL,
        question,
        format=Sky.model_json_schema(),
        options={"num_predict": 100, "temperature": 0},
    )
    parsed = await async_clients.openai.chat.completions.parse(
        model=MODEL,
        messages=[{"role": "user", "content": question}],
        response_format=Sky,
        max_tokens=100,
        temperature=0,
    )
    assert Sky.model_validate_json(generate.response or "")
    assert isinstance(parsed.choices[0].message.parsed, Sky)


@every_way
def test_an_unknown_model_is_404(way: Way, clients: Clients) -> None:
    with refused(way.library, 404):
        list(way.ask(clients, "nobody", 5))
    with refused(way.library, 404):
        way.whole(clients, "nobody", 5)


@every_way
@shared_loop
async def test_an_unknown_model_is_404_for_the_async_client(way: Way, async_clients: AsyncClients) -> None:
    with refused(way.library, 404):
        await text_of(way.ask_async(async_clients, "nobody", 5))


def test_an_unknown_model_is_named(clients: Clients) -> None:
    with refused("ollama", 404, "^model 'nobody:latest' not found"):
        clients.ollama.show("nobody")
    with refused("ollama", 404, "^model 'nobody' not found"):
        list(ollama_chat(clients, "nobody", 5))
    with refused("openai", 404, "model 'no:body' not found"):
        clients.openai.models.retrieve("no:body")
    with refused("openai", 404, "model 'nobody' not found"):
        list(openai_chat(clients, "nobody", 5))
    with refused("anthropic", 404, "model 'nobody' not found"):
        list(anthropic_message(clients, "nobody", 5))


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
    with edge(f"http://127.0.0.1:{free_port()}", tmp_path_factory.mktemp("down")) as url:
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


@every_way
def test_each_apis_answer_passes_completely(way: Way, faked: Clients, fake: FakeOllama) -> None:
    fake.answer("says hello", *way.answer)
    assert "".join(way.ask(faked, "says hello", 5)) == "Hello"


def test_a_response_that_is_complete_is_put_together(faked: Clients, fake: FakeOllama) -> None:
    fake.answer("says hello", *RESPONSE)
    with faked.openai.responses.stream(model="says hello", input=STORY) as stream:
        assert stream.get_final_response().output_text == "Hello"
    fake.answer("says hello", compact(response("completed", response_item("Hello", "completed"))))
    assert faked.openai.responses.create(model="says hello", input=STORY).output_text == "Hello"


def broken(way: Way, fault: str) -> list[Step]:
    """Hello, without the end of the answer."""
    *parts, last = way.answer
    steps: dict[str, list[Step]] = {
        "ends": [],
        "drops": [Do.DROP],
        "drops in the last line": [last[:10], Do.DROP],
        "says an error": [way.error],
    }
    return [*parts, *steps[fault]]


every_fault = pytest.mark.parametrize("fault", ["ends", "drops", "drops in the last line", "says an error"])


@every_way
@every_fault
def test_a_failure_midway_is_raised(way: Way, fault: str, faked: Clients, fake: FakeOllama) -> None:
    fake.answer("breaks", *broken(way, fault))
    pieces = []
    with pytest.raises(MIDWAY[way.library], match=REASON if fault == "says an error" else "upstream"):  # noqa: PT012
        for piece in way.ask(faked, "breaks", 5):
            pieces.append(piece)  # noqa: PERF402
    assert "".join(pieces) == "Hello"


@every_way
@every_fault
@shared_loop
async def test_a_failure_midway_is_raised_by_the_async_client(
    way: Way, fault: str, async_faked: AsyncClients, fake: FakeOllama
) -> None:
    fake.answer("breaks", *broken(way, fault))
    with pytest.raises(MIDWAY[way.library], match=REASON if fault == "says an error" else "upstream"):
        await text_of(way.ask_async(async_faked, "breaks", 5))


def test_a_response_that_fails_midway_cannot_be_put_together(faked: Clients, fake: FakeOllama) -> None:
    fake.answer("breaks", *broken(OPENAI_RESPONSE, "ends"))
    with (
        pytest.raises((openai.APIError, RuntimeError)),
        faked.openai.responses.stream(model="breaks", input=STORY) as stream,
    ):
        stream.get_final_response()


@every_way
def test_half_of_a_whole_answer_is_502(way: Way, faked: Clients, fake: FakeOllama) -> None:
    fake.answer("breaks", b'{"model":"m",', Do.DROP)
    with refused(way.library, 502, "closed the connection"):
        way.whole(faked, "breaks", 5)


@every_way
def test_heartbeats_before_the_answer_do_not_disturb_clients(
    way: Way, impatient: Clients, fake: FakeOllama
) -> None:
    """The gateway begins with 200 and heartbeats, and then reports that its limit has passed."""
    fake.answer("hangs", Do.HANG)
    with pytest.raises(MIDWAY[way.library], match="silent for too long"):
        list(way.ask(impatient, "hangs", 5))


def endless(way: Way) -> list[Step]:
    """Hello, and then nothing more."""
    (last,) = [number for number, part in enumerate(way.answer) if b'"lo"' in part]
    return [*way.answer[: last + 1], Do.HANG]


@every_way
def test_an_answer_that_takes_too_long_is_as_complete_as_one_that_reached_its_length(
    way: Way, brief: Clients, fake: FakeOllama
) -> None:
    fake.answer("endless", *endless(way))
    assert "".join(way.ask(brief, "endless", 5)) == "Hello"
    assert fake.received[-1].gone.wait(5)


def test_clients_read_the_length_as_the_reason_of_a_cut_answer(brief: Clients, fake: FakeOllama) -> None:
    question: Any = [{"role": "user", "content": STORY}]
    fake.answer("endless", *endless(CHAT))
    *_, chat = brief.ollama.chat("endless", question, stream=True)
    assert (chat.model, chat.done, chat.done_reason, chat.message.content) == ("m", True, "length", "")
    fake.answer("endless", *endless(GENERATE))
    *_, generate = brief.ollama.generate("endless", STORY, stream=True)
    assert (generate.model, generate.done, generate.done_reason) == ("m", True, "length")
    fake.answer("endless", *endless(OPENAI_CHAT))
    chunks = list(brief.openai.chat.completions.create(model="endless", messages=question, stream=True))
    assert [chunk.choices[0].finish_reason for chunk in chunks] == [None, None, "length"]
    assert len({chunk.id for chunk in chunks}) == 1
    fake.answer("endless", *endless(OPENAI_COMPLETION))
    texts = list(brief.openai.completions.create(model="endless", prompt=STORY, stream=True))
    assert [chunk.choices[0].finish_reason for chunk in texts] == [None, None, "length"]
    fake.answer("endless", *endless(OPENAI_RESPONSE))
    *events, last = brief.openai.responses.create(model="endless", input=STORY, stream=True)
    assert last.type == "response.incomplete"
    assert last.response.incomplete_details
    assert last.response.incomplete_details.reason == "max_output_tokens"
    assert events[0].type == "response.created"
    assert last.response.id == events[0].response.id
    assert last.sequence_number == len(events)
    fake.answer("endless", *endless(ANTHROPIC_MESSAGE))
    with brief.anthropic.messages.stream(model="endless", messages=question, max_tokens=5) as stream:
        message = stream.get_final_message()
    assert message.stop_reason == "max_tokens"
    assert message.content[0].type == "text"
    assert message.content[0].text == "Hello"
    assert message.usage.input_tokens == 11


@every_way
def test_a_whole_answer_that_takes_too_long_is_410_and_not_asked_for_again(
    way: Way, brief: Clients, fake: FakeOllama
) -> None:
    fake.answer("endless", Do.HANG)
    asked_before = len(fake.received)
    with refused(way.library, 410, "the answer took longer than 1 s"):
        way.whole(brief, "endless", 5)
    assert len(fake.received) == asked_before + 1
    assert fake.received[-1].gone.wait(5)


@every_way
def test_breaking_out_of_a_stream_frees_the_slot_within_a_second(
    way: Way, stack: Running, clients: Clients
) -> None:
    pieces = way.ask(clients, MODEL, LONG)
    next(pieces)
    wait_until(lambda: stack.busy_slots() == 1, 5, "a slot is busy")
    pieces.close()
    assert seconds_until_free(stack) < 1


@every_way
@shared_loop
async def test_breaking_out_of_an_async_stream_frees_the_slot_within_a_second(
    way: Way, stack: Running, async_clients: AsyncClients
) -> None:
    async with aclosing(way.ask_async(async_clients, MODEL, LONG)) as pieces:
        await anext(pieces)
        await asyncio.to_thread(wait_until, lambda: stack.busy_slots() == 1, 5, "a slot is busy")
    assert await asyncio.to_thread(seconds_until_free, stack) < 1


@every_way
def test_a_client_that_times_out_frees_the_slot_within_a_second(way: Way, stack: Running) -> None:
    with clients_of(stack.url, timeout=0.5) as clients:
        with pytest.raises(TIMEOUTS[way.library]):
            way.whole(clients, MODEL, LONG)
        assert seconds_until_free(stack) < 1

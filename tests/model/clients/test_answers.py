"""The answers of a real model, streamed and whole, at the official clients."""

import asyncio
from collections.abc import Callable
from typing import Literal

import pytest
from pydantic import BaseModel

from tests.integration.stacks import MODEL
from tests.model.clients.libraries import AsyncClients, Clients, shared_loop
from tests.model.clients.questions import BEGINNING, GREEDY, STORY
from tests.model.clients.ways import Way, every_way


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

"""Answers that take too long, at the official clients."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.fakes.ollama import Do, FakeOllama, Step
from tests.integration.programs import nginx_and_gateway
from tests.model.clients.libraries import Clients, clients_of, refused
from tests.model.clients.questions import STORY
from tests.model.clients.ways import (
    ANTHROPIC_MESSAGE,
    CHAT,
    GENERATE,
    OPENAI_CHAT,
    OPENAI_COMPLETION,
    OPENAI_RESPONSE,
    Way,
    every_way,
)


@pytest.fixture(scope="module")
def brief(fake: FakeOllama, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clients]:
    """Of a gateway whose longest answer takes a second; they repeat requests as they do by default."""
    settings = {"GATEWAY_MAX_ANSWER_SECONDS": "1"}
    with (
        nginx_and_gateway(fake.url, tmp_path_factory.mktemp("brief"), **settings) as url,
        clients_of(url) as all_three,
    ):
        yield Clients(
            all_three.ollama,
            all_three.openai.with_options(max_retries=2),
            all_three.anthropic.with_options(max_retries=2),
        )


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

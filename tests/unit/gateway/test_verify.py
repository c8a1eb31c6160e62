"""Which model `gateway verify` asks."""

import httpx
import pytest

from gateway.commands.verify.facts import ModelServer
from gateway.commands.verify.probe import ProbeFailed
from gateway.commands.verify.verify import first_model
from tests.fakes.ollama import DONE, FakeOllama


def test_the_first_model_that_can_chat_is_asked() -> None:
    with FakeOllama().running() as fake, httpx.Client(base_url=fake.url) as client:
        fake.answer("embeds", b'{"capabilities":["embedding"]}')
        fake.answer("chats", b'{"capabilities":["completion"]}')
        assert first_model(ModelServer(client)).startswith("chats")


def test_a_model_server_that_does_not_tell_what_a_model_can_is_asked_all_the_same() -> None:
    with FakeOllama().running() as fake, httpx.Client(base_url=fake.url) as client:
        fake.answer("old", DONE)
        assert first_model(ModelServer(client)).startswith("old")


def test_without_a_model_that_can_chat_nothing_is_asked() -> None:
    with FakeOllama().running() as fake, httpx.Client(base_url=fake.url) as client:
        server = ModelServer(client)
        with pytest.raises(ProbeFailed, match="no model at all"):
            first_model(server)
        fake.answer("embeds", b'{"capabilities":["embedding"]}')
        with pytest.raises(ProbeFailed, match="no model that can chat"):
            first_model(server)

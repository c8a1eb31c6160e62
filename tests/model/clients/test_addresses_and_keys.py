"""The address and the keys that a client is configured with, and the request id that it exposes."""

import re
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest

from gateway.access.allow_list import EVERY_MODEL
from gateway.access.key_file import KeyFile
from tests.fakes.ollama import FakeOllama
from tests.integration.programs import nginx_and_gateway
from tests.model.clients.answers import MESSAGE
from tests.model.clients.libraries import Clients, clients_of
from tests.model.clients.questions import STORY, ollama_chat, openai_chat
from tests.model.clients.ways import CHAT, OPENAI_CHAT


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
    with nginx_and_gateway(fake.url, tmp_path, GATEWAY_KEYS_FILE=str(tmp_path / "keys")) as url:
        for token, other in ((key, "other"), ("other", key)):
            also = {"X-Api-Key": other}
            with anthropic.Anthropic(auth_token=token, base_url=url, default_headers=also) as client:
                question: Any = [{"role": "user", "content": STORY}]
                with client.messages.stream(model="m", messages=question, max_tokens=5) as got:
                    assert "".join(got.text_stream) == "Hello"

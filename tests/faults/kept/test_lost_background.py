"""Background responses that nobody asks for, that grow too large, or that cannot be kept."""

import time
from pathlib import Path

import openai
import pytest

from tests.fakes.ollama import Do, FakeOllama
from tests.integration.programs import gateway, line_of
from tests.integration.resume.background import HALF, NUMBERS, client_of, until_status
from tests.model.clients.answers import RESPONSE
from tests.processes import wait_until

SHORT = {"GATEWAY_RESUME_MAX": "2", "GATEWAY_RESUME_KEEP": "1", "GATEWAY_RESUME_BYTES": "20000"}


def test_one_that_nobody_asks_for_is_stopped_and_forgotten(tmp_path: Path) -> None:
    with FakeOllama().running() as fake, gateway(fake.url, tmp_path, **SHORT) as (process, url):
        fake.answer("half", *RESPONSE[:HALF], Do.WAIT, *RESPONSE[HALF:])
        with client_of(url) as client:
            sent = client.responses.with_raw_response.create(model="half", input="hi", background=True)
            answer_id = sent.parse().id
            until_status(client, answer_id, "in_progress")
            since = time.monotonic()
            while time.monotonic() < since + 5:  # each time it waits anew
                assert client.responses.retrieve(answer_id).status == "in_progress"
            assert fake.answering
            wait_until(lambda: not fake.answering, 10, "nobody has asked for it")
            failed = client.responses.retrieve(answer_id)
            assert failed.error
            assert (failed.status, failed.error.message[:26]) == ("failed", "nobody has read the answer")
            assert line_of(process, sent.headers["x-request-id"])["outcome"] == "client_gone"
            wait_until(lambda: is_gone(client, answer_id), 10, "it is forgotten")


def is_gone(client: openai.OpenAI, answer_id: str) -> bool:
    try:
        client.responses.retrieve(answer_id)
    except openai.NotFoundError:
        return True
    return False


def test_one_that_grows_too_large_is_not_kept(tmp_path: Path) -> None:
    large = RESPONSE[3].replace(b"Hel", b"Hel" * 10_000)
    with FakeOllama().running() as fake, gateway(fake.url, tmp_path, **SHORT) as (_, url):
        fake.answer("large", *RESPONSE[:3], large, Do.WAIT, *RESPONSE[4:])
        with client_of(url) as client:
            with client.responses.create(model="large", input="hi", background=True, stream=True) as stream:
                created = next(stream)
                assert created.type == "response.created"
                told = [created, *(next(stream) for _ in range(3))]
                for query in ({}, {"stream": "true", "starting_after": "2"}):
                    with pytest.raises(openai.APIStatusError) as caught:
                        client.responses.retrieve(created.response.id, extra_query=query)
                    assert (caught.value.status_code, caught.value.code) == (410, "answer_not_kept")
                fake.go_on()
                told += stream
            assert [event.sequence_number for event in told] == NUMBERS


@pytest.mark.parametrize("setting", [{"GATEWAY_RESUME_MAX": "0"}, {"GATEWAY_WORKERS": "2"}])
def test_where_none_can_be_kept_background_is_refused(setting: dict[str, str], tmp_path: Path) -> None:
    with FakeOllama().running() as fake, gateway(fake.url, tmp_path, **setting) as (_, url):
        fake.answer("hello", *RESPONSE)
        with client_of(url) as client:
            with pytest.raises(openai.BadRequestError, match="needs a GATEWAY_RESUME_MAX above 0"):
                client.responses.create(model="hello", input="hi", background=True)
            with client.responses.create(model="hello", input="hi", background=False, stream=True) as stream:
                assert [event.sequence_number for event in stream] == NUMBERS

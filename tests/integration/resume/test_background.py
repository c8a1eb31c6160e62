"""OpenAI's background responses at OpenAI's own client, with an Ollama that does as it is told."""

import json
from collections.abc import Iterator
from typing import Any, cast

import httpx
import openai
import pytest

from tests.fakes.ollama import DONE, Do, FakeOllama, line
from tests.integration.programs import line_of
from tests.integration.queue.queues import Served
from tests.integration.resume.background import HALF, NUMBERS, begun, client_of, until_status
from tests.model.clients.answers import OPENAI_ERROR, RESPONSE
from tests.processes import wait_until


@pytest.fixture
def fake(gateway: Served) -> Iterator[FakeOllama]:
    gateway.fake.answer("hello", *RESPONSE)
    gateway.fake.answer("half", *RESPONSE[:HALF], Do.WAIT, *RESPONSE[HALF:])
    gateway.fake.answer("silent", Do.WAIT, *RESPONSE)
    gateway.fake.answer("breaks", *RESPONSE[:HALF], b"event: error\n" + OPENAI_ERROR)
    gateway.fake.pause()
    yield gateway.fake
    gateway.fake.go_on()
    wait_until(lambda: not gateway.fake.answering, 10, "nothing is answered any more")


@pytest.fixture
def alice(gateway: Served, fake: FakeOllama) -> Iterator[openai.OpenAI]:
    with client_of(gateway.url, gateway.keys["alice"]) as client:
        yield client


@pytest.fixture
def bob(gateway: Served) -> Iterator[openai.OpenAI]:
    with client_of(gateway.url, gateway.keys["bob"]) as client:
        yield client


def numbers(client: openai.OpenAI, answer_id: str, after: int | openai.Omit = openai.omit) -> list[int]:
    with client.responses.retrieve(answer_id, stream=True, starting_after=after) as stream:
        return [event.sequence_number for event in stream]


def test_it_is_polled_to_its_end(alice: openai.OpenAI, fake: FakeOllama) -> None:
    sent = alice.responses.create(model="half", input="hi", background=True, temperature=0.5)
    assert (sent.status, sent.background, sent.object, sent.output) == ("queued", True, "response", [])
    assert (sent.model, sent.error, sent.output_text) == ("half", None, "")
    until_status(alice, sent.id, "in_progress")
    fake.go_on()
    final = until_status(alice, sent.id, "completed")
    assert (final.id, final.output_text) == (sent.id, "Hello")
    upstream = json.loads(fake.received[-1].body)
    asked = {"model": "half", "input": "hi", "background": True, "temperature": 0.5}
    assert upstream == {**asked, "stream": True}


def test_one_that_waits_for_its_turn_is_queued(alice: openai.OpenAI, fake: FakeOllama) -> None:
    for _ in range(2):
        begun(alice, "half")
    wait_until(lambda: fake.answering == 2, 10, "both slots are busy")
    waiting = begun(alice, "half")
    assert alice.responses.retrieve(waiting).status == "queued"
    with alice.responses.retrieve(waiting, stream=True) as stream:
        first = next(stream)  # the client does not have to wait for the id
        assert first.type == "response.created"
        assert first.response.status == "queued"
    assert alice.responses.cancel(waiting).status == "cancelled"
    fake.go_on()


def test_one_whose_model_server_has_not_begun_is_queued(alice: openai.OpenAI, fake: FakeOllama) -> None:
    waiting = begun(alice, "silent")
    wait_until(lambda: fake.answering, 10, "it is asked")
    assert alice.responses.retrieve(waiting).status == "queued"


def test_who_leaves_the_stream_reads_on_where_it_was(alice: openai.OpenAI, fake: FakeOllama) -> None:
    told = []
    with alice.responses.create(model="half", input="hi", background=True, stream=True) as stream:
        for event in stream:
            told.append(event)
            if event.type == "response.output_text.delta":
                break
    answer_id = cast(Any, told[0]).response.id
    with alice.responses.retrieve(answer_id, stream=True, starting_after=told[-1].sequence_number) as stream:
        told.append(next(stream))
        fake.go_on()
        told += stream
    assert [event.sequence_number for event in told] == NUMBERS
    assert "".join(event.delta for event in told if event.type == "response.output_text.delta") == "Hello"
    last = told[-1]
    assert last.type == "response.completed"
    assert last.response == alice.responses.retrieve(answer_id)


def test_every_event_can_be_the_last_one_that_was_seen(alice: openai.OpenAI) -> None:
    answer_id = begun(alice, "hello")
    until_status(alice, answer_id, "completed")
    assert numbers(alice, answer_id) == NUMBERS
    for seen in NUMBERS:  # after the last one the stream is empty
        assert numbers(alice, answer_id, seen) == NUMBERS[seen + 1 :]


def test_openais_helper_puts_it_together(alice: openai.OpenAI) -> None:
    answer_id = begun(alice, "hello")
    with alice.responses.stream(response_id=answer_id, starting_after=3) as stream:
        assert next(iter(stream)).sequence_number == 4
        assert stream.get_final_response().output_text == "Hello"


def test_cancelling_frees_the_model(alice: openai.OpenAI, fake: FakeOllama) -> None:
    answer_id = begun(alice, "half")
    with alice.responses.retrieve(answer_id, stream=True) as stream:
        for event in stream:
            if event.type == "response.output_text.delta":
                break
        cancelled = alice.responses.cancel(answer_id)
        wait_until(lambda: not fake.answering, 1, "the model is free")
        assert (cancelled.id, cancelled.status, cancelled.error) == (answer_id, "cancelled", None)
        with pytest.raises(openai.APIError, match="cancelled by its caller"):
            list(stream)
    assert alice.responses.cancel(answer_id).status == "cancelled"
    assert alice.responses.retrieve(answer_id).status == "cancelled"


def test_what_has_ended_is_not_cancelled_any_more(alice: openai.OpenAI) -> None:
    answer_id = begun(alice, "hello")
    final = until_status(alice, answer_id, "completed")
    assert alice.responses.cancel(answer_id) == final
    assert alice.responses.retrieve(answer_id) == final


def test_deleting_ends_and_forgets_it(alice: openai.OpenAI, fake: FakeOllama) -> None:
    answer_id = begun(alice, "half")
    wait_until(lambda: fake.answering, 10, "it is answered")
    deleted = alice.responses.with_raw_response.delete(answer_id)
    assert json.loads(deleted.content) == {"id": answer_id, "object": "response", "deleted": True}
    wait_until(lambda: not fake.answering, 1, "the model is free")
    for use in (alice.responses.retrieve, alice.responses.cancel, alice.responses.delete):
        with pytest.raises(openai.NotFoundError, match="none of your answers has this id") as caught:
            use(answer_id)
        assert caught.value.code == "answer_not_found"


def test_it_belongs_to_its_caller(alice: openai.OpenAI, bob: openai.OpenAI, gateway: Served) -> None:
    answer_id = begun(alice, "hello")
    for use in (bob.responses.retrieve, bob.responses.cancel, bob.responses.delete):
        with pytest.raises(openai.NotFoundError):
            use(answer_id)
    assert until_status(alice, answer_id, "completed").output_text == "Hello"
    assert httpx.get(f"{gateway.url}/v1/responses/{answer_id}").status_code == 401
    wait_until(lambda: "/v1/responses/{id}" in gateway.output, 5, "requests are logged")
    assert answer_id.removeprefix("resp_") not in gateway.output


def test_an_answer_of_one_api_is_none_of_the_other(alice: openai.OpenAI, gateway: Served) -> None:
    gateway.fake.answer("chat", line("a"), DONE)
    key = {"Authorization": f"Bearer {gateway.keys['alice']}"}
    body = {"model": "chat", "messages": [{"role": "user", "content": "hi"}]}
    with httpx.Client(base_url=gateway.url, headers=key) as client:
        sent = client.post("/chat", json=body, headers={"Prefer": "respond-async"})
        chat_id = sent.json()["id"]
        with pytest.raises(openai.NotFoundError):
            alice.responses.retrieve(f"resp_{chat_id}")
        answer_id = begun(alice, "hello")
        for other in (answer_id, answer_id.removeprefix("resp_")):
            assert client.get(f"/chat/{other}").status_code == 404


def test_a_failure_midway_is_told(alice: openai.OpenAI) -> None:
    answer_id = begun(alice, "breaks")
    failed = until_status(alice, answer_id, "failed")
    assert failed.error
    assert (failed.id, failed.error.code, failed.error.message) == (
        answer_id,
        "server_error",
        "out of memory",
    )
    with alice.responses.with_streaming_response.retrieve(answer_id, stream=True) as raw:
        told = [json.loads(text[6:]) for text in raw.iter_lines() if text.startswith("data: ")]
    assert [event["sequence_number"] for event in told] == [*range(HALF + 2)]
    assert [event["type"] for event in told[-2:]] == ["error", "response.failed"]
    with pytest.raises(openai.APIError, match="out of memory"):
        numbers(alice, answer_id)


def test_what_is_refused_before_it_is_accepted_is_a_status(alice: openai.OpenAI, fake: FakeOllama) -> None:
    for stream in (True, False):
        with pytest.raises(openai.NotFoundError, match="model 'absent' not found"):
            alice.responses.create(model="absent", input="hi", background=True, stream=stream)
    with pytest.raises(openai.BadRequestError, match="background: send true or false"):
        alice.responses.create(model="hello", input="hi", background=cast(Any, "yes"))


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ({"stream": "yes"}, "stream: 'yes' is neither true nor false"),
        ({"stream": "true", "starting_after": "-1"}, "starting_after: '-1' is not the number"),
        ({"stream": "true", "starting_after": "x"}, "starting_after: 'x' is not the number"),
        ({"stream": "true", "starting_after": "99"}, "starting_after: there is no event 99 yet"),
    ],
)
def test_a_bad_query_gets_a_clear_error(query: dict[str, str], says: str, alice: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match=says):
        alice.responses.retrieve(begun(alice, "hello"), extra_query=query)


def test_head_does_not_wait_for_the_end(alice: openai.OpenAI, gateway: Served) -> None:
    answer_id = begun(alice, "half")
    key = {"Authorization": f"Bearer {gateway.keys['alice']}"}
    with httpx.Client(base_url=gateway.url, headers=key) as client:
        for query, kind in (("", "application/json"), ("?stream=true", "text/event-stream")):
            head = client.head(f"/v1/responses/{answer_id}{query}")
            assert head.status_code == 200
            assert head.headers["content-type"].startswith(kind)
        assert client.get("/healthz").json() == {"status": "alive"}


def test_without_background_who_leaves_frees_the_model(alice: openai.OpenAI, fake: FakeOllama) -> None:
    with alice.responses.create(model="half", input="hi", background=False, stream=True) as stream:
        created = next(stream)
    wait_until(lambda: not fake.answering, 1, "the model is free")
    assert created.type == "response.created"
    with pytest.raises(openai.NotFoundError):
        alice.responses.retrieve(created.response.id)


def test_it_has_one_log_line_when_it_has_ended(
    alice: openai.OpenAI, fake: FakeOllama, gateway: Served
) -> None:
    sent = alice.responses.with_raw_response.create(model="half", input="hi", background=True)
    answer_id = sent.parse().id
    fake.go_on()
    until_status(alice, answer_id, "completed")
    assert numbers(alice, answer_id) == NUMBERS
    entry = line_of(gateway, sent.headers["x-request-id"])
    assert (entry["route"], entry["outcome"], entry["status"]) == ("/v1/responses", "ok", 200)

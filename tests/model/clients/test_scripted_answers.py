"""Scripted answers at the official clients: complete, interrupted and late."""

from collections.abc import Iterator

import openai
import pytest

from tests.fakes.ollama import Do, FakeOllama, Step
from tests.integration.programs import nginx_and_gateway
from tests.model.clients.answers import REASON, RESPONSE, compact, response, response_item
from tests.model.clients.libraries import (
    MIDWAY,
    AsyncClients,
    Clients,
    clients_of,
    refused,
    shared_loop,
)
from tests.model.clients.questions import STORY, text_of
from tests.model.clients.ways import OPENAI_RESPONSE, Way, every_way


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


def test_openais_client_gets_a_transcription(faked: Clients, fake: FakeOllama) -> None:
    fake.answer("listens", b'{"text":"Hello"}')
    recording = ("hi.wav", bytes(range(256)) * 10)
    got = faked.openai.audio.transcriptions.create(model="listens", file=recording, prompt="a greeting")
    assert got.text == "Hello"
    with refused("openai", 404, "model 'absent' not found"):
        faked.openai.audio.transcriptions.create(model="absent", file=recording)


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


@pytest.fixture(scope="module")
def impatient(fake: FakeOllama, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clients]:
    limits = {"EARLY_COMMIT": "0.1", "HEARTBEAT": "0.1", "FIRST_BYTE_TIMEOUT": "0.5"}
    folder = tmp_path_factory.mktemp("impatient")
    environment = {f"GATEWAY_{name}": value for name, value in limits.items()}
    with nginx_and_gateway(fake.url, folder, **environment) as url, clients_of(url) as all_three:
        yield all_three


@every_way
def test_heartbeats_before_the_answer_do_not_disturb_clients(
    way: Way, impatient: Clients, fake: FakeOllama
) -> None:
    """The gateway begins with 200 and heartbeats, and then reports that its limit has passed."""
    fake.answer("hangs", Do.HANG)
    with pytest.raises(MIDWAY[way.library], match="silent for too long"):
        list(way.ask(impatient, "hangs", 5))

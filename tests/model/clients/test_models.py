"""Models that the official clients list, show and ask for."""

from tests.integration.stacks import MODEL
from tests.model.clients.libraries import AsyncClients, Clients, refused, shared_loop
from tests.model.clients.questions import anthropic_message, ollama_chat, openai_chat, text_of
from tests.model.clients.ways import Way, every_way


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

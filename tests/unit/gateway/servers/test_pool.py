"""Which servers are asked for a model, and what they have together."""

import pytest

from gateway.admission.estimates import Estimates
from gateway.admission.memory import MemoryLedger
from gateway.admission.slots import Slots
from gateway.backends.backend import Backend
from gateway.backends.pool import Pool
from gateway.errors import UpstreamFailed, UpstreamUnreachable
from gateway.settings import Settings
from tests.unit.gateway.admission.ledgers import NO_BOUNDS, turn

MODEL = "m:latest"


@pytest.fixture
async def pool() -> Pool:
    urls = "http://127.0.0.1:9 name=a, http://127.0.0.1:9 name=b, http://127.0.0.1:9 name=c"
    pool = Pool(Settings(ollama_urls=urls, slots=1))
    for backend in pool.backends:
        has(backend, MODEL)
    return pool


def has(backend: Backend, *models: str, remote: tuple[str, ...] = ()) -> None:
    backend.up, backend.models, backend.remote = True, frozenset({*models, *remote}), frozenset(remote)
    backend._local = frozenset(models)
    backend.on_change()


def asked(pool: Pool, model: str = MODEL) -> list[str]:
    """The servers to choose from, which is what admission sees, too."""
    names = [backend.name for backend in pool.servers(model)]
    assert [offer.name for offer in pool.offers(model)] == names
    return names


async def test_only_servers_with_the_model_are_asked(pool: Pool) -> None:
    has(pool.backends[1], "other:latest")
    assert asked(pool) == ["a", "c"]
    assert asked(pool, "other:latest") == ["b"]
    assert asked(pool, "nowhere:latest") == ["a", "b", "c"]


async def test_a_server_that_is_down_or_fails_again_and_again_is_not_asked(pool: Pool) -> None:
    down, failing, _ = pool.backends
    down.failed(UpstreamUnreachable("down"))
    assert asked(pool) == ["b", "c"]
    for _ in range(3):
        failing.failed(UpstreamFailed("broken"))
    assert asked(pool) == ["c"]


async def test_if_none_can_be_asked_all_that_have_the_model_are(pool: Pool) -> None:
    for backend in pool.backends:
        backend.failed(UpstreamUnreachable("down"))
    has(pool.backends[2])
    pool.backends[2].failed(UpstreamUnreachable("down"))
    assert asked(pool) == ["a", "b"]


async def test_a_model_that_is_remote_somewhere_stays_on_the_servers_that_run_it_themselves(
    pool: Pool,
) -> None:
    has(pool.backends[0], remote=(MODEL,))
    assert asked(pool) == ["b", "c"]
    assert pool.is_local(MODEL)
    assert pool.remote == frozenset()
    for backend in pool.backends[1:]:
        has(backend, remote=(MODEL,))
    assert asked(pool) == ["a", "b", "c"]
    assert not pool.is_local(MODEL)
    assert pool.remote == {MODEL}


async def test_the_gateway_is_ready_as_long_as_one_server_is(pool: Pool) -> None:
    for backend in pool.backends[:2]:
        backend.failed(UpstreamUnreachable("down"))
    assert pool.missing is None
    assert pool.not_ready == dict.fromkeys("ab", "the model server is not reachable")
    has(pool.backends[2])
    assert pool.missing == (
        "a: the model server is not reachable; b: the model server is not reachable; "
        "c: the model server has no models"
    )


async def test_a_request_begins_as_soon_as_a_server_can_take_it(pool: Pool) -> None:
    ledger = MemoryLedger(Slots(pool, 1, 2), Estimates(), NO_BOUNDS)
    pool.when_changed = ledger.advance
    pool.backends[2].failed(UpstreamUnreachable("down"))
    waiting = turn("x", model=MODEL)
    for each in (turn("x", model=MODEL), turn("y", model=MODEL), waiting):
        await ledger.enter(each)
    assert not waiting.is_running
    has(pool.backends[2], MODEL)
    assert waiting.server == "c"

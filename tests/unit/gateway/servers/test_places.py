"""One queue over several servers: who begins where, and what happens when a server fails its turn."""

from collections.abc import Sequence

import pytest

from gateway.admission import turn as turns
from gateway.admission.estimates import Estimates
from gateway.admission.memory import MemoryLedger
from gateway.admission.slots import Slots
from gateway.admission.turn import Turn
from gateway.backends.choice import Offer
from tests.unit.gateway.admission.ledgers import NO_BOUNDS, turn

EIGHT_K = frozenset({("num_ctx", "8192")})


class Fleet:
    """Servers, each with the models that it has; those in `loaded` are in memory there."""

    def __init__(self, *offers: Offer, loaded: Sequence[tuple[str, str]] = ()) -> None:
        self._offers = offers
        self._loaded = loaded

    def offers(self, model: str) -> Sequence[Offer]:
        return [
            offer._replace(is_loaded=(offer.name, model) in self._loaded)
            for offer in self._offers
            if not (offer.name == "small" and model == "large")
        ]


def ledger(*offers: Offer, loaded: Sequence[tuple[str, str]] = (), patience: float = 10**6) -> MemoryLedger:
    slots = Slots(Fleet(*offers, loaded=loaded), 1, 2)
    return MemoryLedger(slots, Estimates(), NO_BOUNDS._replace(patience=patience, queue=1, per_caller=1))


def two(slots: int = 1, models_at_once: int = 0) -> tuple[Offer, Offer]:
    return (
        Offer("a", 3, slots=slots, models_at_once=models_at_once),
        Offer("b", 5, slots=slots, models_at_once=models_at_once),
    )


async def entered(ledger: MemoryLedger, *turns: Turn) -> list[str]:
    """The servers at which they run; empty for those that wait."""
    for each in turns:
        await ledger.enter(each)
    return [each.server for each in turns]


async def test_requests_wait_only_if_no_server_has_a_free_slot() -> None:
    held = ledger(*two())
    one, other, waiting = turn("x"), turn("y"), turn("z")
    assert sorted(await entered(held, one, other, waiting)) == ["", "a", "b"]
    held.leave(other)
    assert waiting.server == other.server


async def test_the_slots_of_all_servers_count_for_the_estimates() -> None:
    assert ledger(*two(slots=3)).schedule.slots.total("one") == 6
    assert ledger(Offer("a", slots=3), Offer("b")).schedule.slots.total("one") == 0


async def test_a_server_without_the_model_is_never_chosen() -> None:
    held = ledger(Offer("small", slots=4, weight=9), Offer("b", slots=1))
    assert await entered(held, turn("x", model="large"), turn("y", model="large")) == ["b", ""]


async def test_another_model_goes_where_no_model_has_to_make_room() -> None:
    held = ledger(*two(slots=2, models_at_once=1))
    (first,) = await entered(held, turn("x"))
    (second,) = await entered(held, turn("y", model="two"))
    assert {first, second} == {"a", "b"}
    assert await entered(held, turn("z", model="three")) == [""]


async def test_other_load_options_go_where_they_reload_nothing_that_answers() -> None:
    held = ledger(*two(slots=4))
    (first,) = await entered(held, turn("x"))
    (second,) = await entered(held, turn("y", options=EIGHT_K))
    assert first != second
    assert await entered(held, turn("z", options=frozenset({("num_ctx", "1")}))) == [""]


async def test_only_one_server_is_kept_free_for_a_model_that_has_waited_long() -> None:
    held = ledger(*two(slots=1, models_at_once=1), patience=0)
    one, other, waiting = turn("x"), turn("y"), turn("z", model="two")
    await entered(held, one, other, waiting)
    held.leave(one)
    assert waiting.server == one.server
    held.leave(other)
    assert await entered(held, turn("x")) == [other.server]


async def test_a_failed_turn_goes_to_another_server_at_once() -> None:
    held = ledger(*two(slots=2))
    failing = turn("x")
    (first,) = await entered(held, failing)
    held.enter_again(failing)
    assert failing.is_running
    assert {first, failing.server} == {"a", "b"}
    assert held.schedule.slots.count(first, "one") == 0
    held.leave(failing)
    assert held.turns() == []


async def test_a_failed_turn_is_never_refused_and_goes_before_its_callers_later_ones() -> None:
    held = ledger(*two())
    failing, other, later = turn("x"), turn("y"), turn("x")
    await entered(held, failing, other, later)
    held.enter_again(failing)
    # The slot that it has given back is no longer one for it.
    assert not failing.is_running
    assert later.is_running
    await held.wait(later)
    held.leave(other)
    assert failing.server == other.server
    await held.wait(failing)


async def test_a_server_that_has_failed_a_turn_may_have_it_again_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    held = ledger(*two())
    failing, other = turn("x"), turn("y")
    await entered(held, failing, other)
    first = failing.server
    entered_at = failing.entered
    held.enter_again(failing)
    assert not failing.is_running
    monkeypatch.setattr(turns, "AVOID_SECONDS", 0)
    held.advance()
    assert failing.server == first
    # Its wait counts from the beginning.
    assert failing.entered == entered_at
    held.enter_again(failing)
    assert failing.tried == {first}


async def test_a_turn_that_all_servers_have_failed_may_try_any_again() -> None:
    held = ledger(*two())
    failing = turn("x")
    await entered(held, failing)
    held.enter_again(failing)
    held.enter_again(failing)
    assert failing.is_running


async def test_an_attempt_that_has_failed_costs_its_caller_nothing() -> None:
    held = ledger(*two(slots=1))
    failing, other = turn("x"), turn("y")
    await entered(held, failing, other)
    waiting = turn("z")
    await entered(held, waiting)
    before = held.schedule.queue._callers["x"].due
    held.enter_again(failing)
    assert held.schedule.queue._callers["x"].due == pytest.approx(before - failing.cost)


async def test_each_of_several_workers_has_its_share_of_each_servers_slots() -> None:
    slots = Slots(Fleet(*two(slots=4)), 2)
    assert slots.total("one") == 4
    held = MemoryLedger(slots, Estimates(), NO_BOUNDS)
    servers = await entered(held, *(turn("x") for _ in range(5)))
    assert sorted(servers) == ["", "a", "a", "b", "b"]

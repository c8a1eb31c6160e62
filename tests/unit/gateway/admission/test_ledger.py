"""Who begins and who waits: slots, models in memory, load options, and the bounds of the queue."""

import time

import pytest

from gateway.admission.memory import MemoryLedger
from gateway.admission.schedule import Bounds
from gateway.admission.turn import Turn
from gateway.ask.waiting import Used
from gateway.errors import CallerQueueFull, QueueFull, QueueTimeout
from tests.unit.gateway.admission.ledgers import NO_BOUNDS, Server, ledger, turn


async def entered(ledger: MemoryLedger, *turns: Turn) -> None:
    for each in turns:
        await ledger.enter(each)


async def test_of_two_that_are_equally_due_the_one_whose_model_is_loaded_goes_first() -> None:
    held = ledger(Server(count=1, at_once=1, loaded={"two"}))
    first = turn("first", model="two")
    one, two = turn("a", model="one"), turn("b", model="two")
    await entered(held, first, one, two)
    held.leave(first)
    assert two.is_running
    assert not one.is_running


@pytest.mark.parametrize(("patience", "goes_first"), [(1000, "loaded"), (0, "due")])
async def test_a_request_whose_model_is_not_loaded_waits_for_patience_at_most(
    patience: float, goes_first: str
) -> None:
    held = ledger(Server(count=2, at_once=1), NO_BOUNDS._replace(patience=patience))
    long, short = turn("a"), turn("a")
    other = turn("b", model="two")
    more = [turn("c"), turn("c")]
    await entered(held, long, short, other, *more)
    held.leave(short)  # passes `other` over, for the first time
    assert more[0].is_running
    held.leave(more[0])
    assert more[1].is_running == (goes_first == "loaded")
    held.leave(long)
    assert other.is_running == (goes_first == "due")


async def test_new_callers_of_a_loaded_model_do_not_keep_another_from_being_loaded() -> None:
    held = ledger(Server(count=1, at_once=1, loaded={"one"}), NO_BOUNDS._replace(patience=0))
    running, other = turn("a"), turn("b", model="two")
    await entered(held, running, other, turn("c"), turn("d"), turn("e"))
    held.leave(running)
    assert not other.is_running
    held.leave(held.turns()[0])
    assert other.is_running


async def test_a_model_is_not_reloaded_with_other_options_while_it_answers() -> None:
    held = ledger(Server(count=4))
    eight_k = frozenset({("num_ctx", "8192")})
    running, alike, other = turn("a"), turn("b"), turn("c", options=eight_k)
    await entered(held, running, other, alike)
    assert alike.is_running
    assert not other.is_running
    held.leave(running)
    held.leave(alike)
    assert other.is_running


async def test_no_more_models_answer_than_are_in_memory_at_once() -> None:
    held = ledger(Server(count=4, at_once=1))
    one, two = turn("a", model="one"), turn("b", model="two")
    await entered(held, one, two)
    assert not two.is_running
    held.leave(one)
    assert two.is_running


async def test_without_a_limit_nobody_waits() -> None:
    held = ledger(Server(count=0))
    turns = [turn("a") for _ in range(100)]
    await entered(held, *turns)
    assert all(each.is_running for each in turns)


async def test_the_queue_is_bounded_in_all_and_for_each_caller() -> None:
    held = ledger(Server(count=1), Bounds(3, 2, 10**6, 10))
    await entered(held, turn("a"), turn("a"), turn("a"))
    with pytest.raises(
        CallerQueueFull, match=r"share of the queue is full, 2 waiting \(GATEWAY_QUEUE_PER_CALLER\)"
    ):
        await held.enter(turn("a"))
    await held.enter(turn("b"))
    with pytest.raises(QueueFull, match=r"the queue is full, 3 waiting \(GATEWAY_QUEUE\)") as refused:
        await held.enter(turn("c"))
    assert refused.value.retry_after
    assert len(held.turns()) == 4


async def test_a_request_waits_no_longer_than_the_queues_timeout() -> None:
    held = ledger(Server(count=1), Bounds(3, 3, 0.01, 10))
    late = turn("b")
    await entered(held, turn("a"), late)
    with pytest.raises(QueueTimeout, match=r"no slot became free within 0\.01 s"):
        await held.wait(late)
    held.leave(late)
    assert len(held.turns()) == 1


async def test_a_request_that_waits_for_other_load_options_blocks_only_its_own_model() -> None:
    held = ledger(Server(count=4), NO_BOUNDS._replace(patience=0))
    running = turn("alice")
    other = turn("bob", options=frozenset({("num_ctx", "1")}))
    await entered(held, running, other, turn("carol", model="two"))
    alike, elsewhere = turn("carol"), turn("carol", model="two")
    await entered(held, alike, elsewhere)
    assert elsewhere.is_running
    assert not alike.is_running


async def test_models_without_a_limit_do_not_wait_until_another_model_can_be_loaded() -> None:
    server = Server(count=1, at_once=1)
    server.unlimited.add("cloud")
    held = ledger(server, NO_BOUNDS._replace(patience=0))
    running, due, later, remote = turn("a"), turn("b", model="two"), turn("c"), turn("d", model="cloud")
    await entered(held, running, due, later, remote)
    assert remote.is_running
    assert not due.is_running
    assert not later.is_running


async def test_a_full_queue_does_not_refuse_what_need_not_wait() -> None:
    held = ledger(Server(count=1), Bounds(2, 1, 10**6, 10))
    await entered(held, turn("a"), turn("a"), turn("b"))
    free = turn("a", model="two")
    await held.enter(free)
    assert free.is_running
    with pytest.raises(QueueFull):
        await held.enter(turn("c"))
    assert len(held.turns()) == 4


async def test_more_slots_start_what_waits() -> None:
    server = Server(count=1)
    held = ledger(server)
    waiting = turn("b")
    await entered(held, turn("a"), waiting)
    server.count = 2
    held.advance()
    assert waiting.is_running


async def test_a_wait_for_another_model_is_estimated_from_what_has_to_end_first() -> None:
    held = ledger(Server(count=1, at_once=1))
    for seconds in (5.0, 5.0):
        ended = turn("a")
        await held.enter(ended)
        ended.started = time.monotonic() - seconds
        held.leave(ended)
    await entered(held, turn("a"), turn("b", model="two"), turn("c", options=frozenset({("num_ctx", "1")})))
    standings = [waiting.standing for waiting in held.turns() if not waiting.is_running]
    assert [standing.eta_seconds for standing in standings if standing] == [5, 5]


async def test_without_a_queue_a_refusal_says_when_the_slot_is_expected_to_be_free() -> None:
    held = ledger(Server(count=1), Bounds(0, 0, 10, 10))
    ended = turn("a")
    await held.enter(ended)
    ended.started = time.monotonic() - 5
    held.leave(ended)
    await held.enter(turn("a"))
    with pytest.raises(QueueFull) as refused:
        await held.enter(turn("b"))
    assert refused.value.retry_after == 5


async def test_what_is_not_reported_costs_the_tokens_of_its_time() -> None:
    """Otherwise answers that do not stream would cost nothing if their clients leave."""
    held = ledger(Server(count=1))
    learned = turn("a", cost=100)
    await held.enter(learned)
    learned.started = time.monotonic() - 10
    held.leave(learned)
    left = turn("a")
    left.tokens = lambda: Used(None, 0, 20.0)
    assert held.schedule.used(left) == pytest.approx(200, rel=0.01)

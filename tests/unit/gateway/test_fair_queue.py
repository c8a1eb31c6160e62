"""Slots are counted exactly and given out fairly, whoever comes, leaves or is cancelled, and when."""

import asyncio
from collections import Counter
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gateway.admission.estimates import Estimates
from gateway.admission.fair_queue import FairQueue
from gateway.admission.memory import Bounds, MemoryLedger
from gateway.admission.slots import Slots
from gateway.admission.turn import Turn
from gateway.ask.waiting import Used
from gateway.errors import CallerQueueFull, QueueFull, QueueTimeout

CALLERS = 1000
SLOTS = 8
MODELS = ("one", "two")
NO_BOUNDS = Bounds(10**6, 10**6, 10**6, 10**6)


@dataclass
class Server:
    """A model server that does so much at once."""

    count: int = SLOTS
    at_once: int = 0
    loaded: set[str] = field(default_factory=set)

    def slots(self, model: str) -> int:
        return self.count

    def models_at_once(self) -> int:
        return self.at_once

    def has_loaded(self, model: str) -> bool:
        return model in self.loaded


def turn(caller: str, *, model: str = "one", cost: float = 100, weight: float = 1, **fields: object) -> Turn:
    return Turn(
        "id",
        caller,
        model,
        lambda: Used(0, int(cost)),
        lambda reason: None,
        cost=cost,
        weight=weight,
        **fields,  # type: ignore[arg-type]
    )


def ledger(server: Server, bounds: Bounds = NO_BOUNDS) -> MemoryLedger:
    return MemoryLedger(Slots(server, 1), Estimates(), bounds)


class Request:
    """A request as admission has it: it enters, waits, runs until `done`, and leaves whatever happens."""

    def __init__(self, machine: "Fairness", turn: Turn, true_cost: int) -> None:
        self.turn = turn
        turn.tokens = lambda: Used(0, true_cost)
        self.done = asyncio.Event()
        # How often each other caller has had a turn in the same lane since this request came.
        self.overtaken: Counter[str] = Counter()
        self.is_callers_only_one = False
        self.task = asyncio.create_task(self._run(machine))

    async def _run(self, machine: "Fairness") -> None:
        try:
            await machine.ledger.enter(self.turn)
            await machine.ledger.wait(self.turn)
            await self.done.wait()
        finally:
            machine.ledger.leave(self.turn)
            machine.requests.remove(self)


class Fairness(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.ledger = ledger(Server())
        self.requests: list[Request] = []
        self._begin = self.ledger._start
        self.ledger._start = self._note_start  # type: ignore[method-assign, assignment]
        self.last_number: dict[tuple[str, str], int] = {}

    def _note_start(self, started: Turn) -> None:
        self._begin(started)
        key = started.caller, started.model
        assert started.number > self.last_number.get(key, 0), "a caller's requests keep their order"
        self.last_number[key] = started.number
        for request in self.requests:
            other = request.turn
            if not other.is_running and other.model == started.model and other.caller != started.caller:
                request.overtaken[started.caller] += 1
                if request.is_callers_only_one:
                    most = "waits for at most one request of each other caller"
                    assert request.overtaken[started.caller] <= 1, most

    def settle(self) -> None:
        async def turns() -> None:
            for _ in range(4):
                await asyncio.sleep(0)

        self.loop.run_until_complete(turns())

    def come(self, number: int, cost: int, true_cost: int, model: str) -> None:
        # A weight belongs to its caller.
        new = turn(f"caller {number}", model=model, cost=cost, weight=1 + number % 5)

        async def begin() -> None:
            is_new = new.caller not in self.ledger.queue._callers
            request = Request(self, new, true_cost)
            request.is_callers_only_one = is_new
            for other in self.requests:
                if other.turn.caller == new.caller:
                    other.is_callers_only_one = False
            self.requests.append(request)
            await asyncio.sleep(0)

        self.loop.run_until_complete(begin())

    @rule(
        number=st.integers(0, CALLERS - 1),
        count=st.integers(1, 30),
        cost=st.integers(1, 1000),
        true_cost=st.integers(1, 5000),
        model=st.sampled_from(MODELS),
    )
    def requests_of_a_caller_come(
        self, number: int, count: int, cost: int, true_cost: int, model: str
    ) -> None:
        for _ in range(count):
            self.come(number, cost, true_cost, model)

    @rule(step=st.integers(1, 7), cost=st.integers(1, 1000))
    def a_crowd_comes(self, step: int, cost: int) -> None:
        if len(self.requests) < CALLERS:
            for number in range(0, CALLERS, step * 5):
                self.come(number, cost, 1 + number, MODELS[number % 2])

    @precondition(lambda self: self.requests)
    @rule(data=st.data(), count=st.integers(1, 60))
    def some_end(self, data: st.DataObject, count: int) -> None:
        for _ in range(count):
            running = [request for request in self.requests if request.turn.is_running]
            if running:
                data.draw(st.sampled_from(running[:SLOTS])).done.set()
                self.settle()

    @precondition(lambda self: self.requests)
    @rule(data=st.data(), yields=st.booleans())
    def one_leaves(self, data: st.DataObject, yields: bool) -> None:
        data.draw(st.sampled_from(self.requests)).task.cancel()
        if yields:
            self.settle()

    @precondition(lambda self: any(request.turn.is_running for request in self.requests))
    @rule(data=st.data())
    def one_leaves_in_the_moment_in_which_it_gets_its_turn(self, data: st.DataObject) -> None:
        waiting = [request for request in self.requests if not request.turn.is_running]
        running = [request for request in self.requests if request.turn.is_running]
        running[0].done.set()
        for request in waiting:
            request.task.cancel()
        self.settle()

    @invariant()
    def slots_are_counted_exactly(self) -> None:
        self.settle()
        running = Counter(request.turn.model for request in self.requests if request.turn.is_running)
        assert self.ledger.slots.running == running
        assert all(count <= SLOTS for count in running.values())
        assert len(self.ledger.queue) == sum(not request.turn.is_running for request in self.requests)

    @invariant()
    def no_slot_is_idle_while_somebody_waits_for_it(self) -> None:
        assert all(self.ledger.slots.fit(waiting) != "now" for waiting in self.ledger.queue)

    @invariant()
    def positions_count_those_that_wait(self) -> None:
        turns = self.ledger.turns()
        assert len(turns) == len(self.requests)
        for model in MODELS:
            waiting = [turn for turn in turns if turn.model == model and not turn.is_running]
            standings = [turn.standing for turn in waiting]
            assert [(standing.position, standing.of) for standing in standings if standing] == [
                (position, len(waiting)) for position in range(1, len(waiting) + 1)
            ]

    def teardown(self) -> None:
        try:
            self.empty()
        finally:
            self.loop.close()

    def empty(self) -> None:
        while self.requests:
            for request in tuple(self.requests):
                request.done.set()
            self.settle()
        assert not self.ledger.slots.running
        assert not self.ledger.queue
        assert not self.ledger.queue._callers
        assert self.ledger.turns() == []


TestFairness = Fairness.TestCase
TestFairness.settings = settings(max_examples=30, stateful_step_count=30, deadline=None)


@settings(max_examples=60, deadline=None)
@given(
    weights=st.lists(st.integers(1, 10), min_size=2, max_size=5),
    slots=st.integers(1, 4),
    data=st.data(),
)
def test_callers_that_always_wait_get_tokens_in_proportion_to_their_weights(
    weights: list[int], slots: int, data: st.DataObject
) -> None:
    """Whatever their answers cost, and however wrong the estimates are."""
    queue = FairQueue()
    costs = [data.draw(st.integers(1, 500)) for _ in weights]
    got = [0.0] * len(weights)
    running: list[Turn] = []

    def add(number: int) -> None:
        queue.add(turn(str(number), cost=100, weight=weights[number]))

    for number in range(len(weights)):
        for _ in range(slots + 1):
            add(number)
    for _ in range(600):
        while len(running) < slots:
            head = queue.heads(lambda turn: True)[0]
            queue.begin(head)
            running.append(head)
            add(int(head.caller))
        ended = running.pop(0)
        number = int(ended.caller)
        got[number] += costs[number]
        queue.end(ended, costs[number])
    shares = [tokens / weight for tokens, weight in zip(got, weights, strict=True)]
    # What is charged too late: all slots' answers, at their estimated and at their true cost.
    bound = max((slots + 1) * (100 + cost) / weight for cost, weight in zip(costs, weights, strict=True))
    assert max(shares) - min(shares) <= 2 * bound


def test_a_caller_that_was_away_has_no_credit() -> None:
    queue = FairQueue()
    for _ in range(20):
        queue.add(turn("busy"))
    for _ in range(10):
        head = queue.heads(lambda turn: True)[0]
        queue.begin(head)
        queue.end(head, 100)
    for _ in range(5):
        queue.add(turn("away"))
    order = []
    while queue:
        head = queue.heads(lambda turn: True)[0]
        queue.begin(head)
        order.append(head.caller)
    assert order[:8] == ["away", "busy"] * 4


def test_callers_that_came_once_are_forgotten() -> None:
    queue = FairQueue()
    queue.add(turn("stays"))
    queue.begin(queue.heads(lambda turn: True)[0])
    for number in range(10_000):
        once = turn(f"once {number}")
        queue.begin_at_once(once)
        queue.end(once, 100)
    assert len(queue._callers) < 1000


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
    with pytest.raises(CallerQueueFull, match=r"2 of your requests are waiting \(GATEWAY_QUEUE_PER_CALLER\)"):
        await held.enter(turn("a"))
    await held.enter(turn("b"))
    with pytest.raises(QueueFull, match=r"3 requests are waiting \(GATEWAY_QUEUE\)") as refused:
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

"""Slots are counted exactly and given out fairly, whoever comes, leaves or is cancelled, and when."""

import asyncio
from collections import Counter

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gateway.admission.slots import Place
from gateway.admission.turn import Turn
from gateway.ask.waiting import Used
from tests.unit.gateway.admission.ledgers import SLOTS, Server, ledger, turn

CALLERS = 1000
MODELS = ("one", "two")


class Request:
    """A request as admission has it: it enters, waits, runs until `done`, and leaves whatever happens."""

    def __init__(self, machine: "Fairness", turn: Turn, true_cost: int) -> None:
        self.turn = turn
        turn.tokens = lambda: Used(0, true_cost, complete=True)
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
        self._begin = self.ledger.schedule._start
        self.ledger.schedule._start = self._note_start  # type: ignore[method-assign, assignment]
        self.last_number: dict[tuple[str, str], int] = {}

    def _note_start(self, started: Turn, place: Place) -> None:
        self._begin(started, place)
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
            is_new = new.caller not in self.ledger.schedule.queue._callers
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
        assert running == Counter(
            {model: self.ledger.schedule.slots.count("ollama", model) for model in MODELS}
        )
        assert all(count <= SLOTS for count in running.values())
        assert len(self.ledger.schedule.queue) == sum(
            not request.turn.is_running for request in self.requests
        )

    @invariant()
    def no_slot_is_idle_while_somebody_waits_for_it(self) -> None:
        assert all(
            self.ledger.schedule.slots.place(waiting).fit != "now" for waiting in self.ledger.schedule.queue
        )

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
        assert not any(self.ledger.schedule.slots.count("ollama", model) for model in MODELS)
        assert not self.ledger.schedule.queue
        assert not self.ledger.schedule.queue._callers
        assert self.ledger.turns() == []


TestFairness = Fairness.TestCase
TestFairness.settings = settings(max_examples=15, stateful_step_count=30, deadline=None)

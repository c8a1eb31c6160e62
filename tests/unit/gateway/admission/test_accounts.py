"""What callers have used, against a model that keeps every event."""

from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from gateway.admission.accounts import MemoryAccounts
from gateway.limits import NO_LIMITS, Limits, Window

# Whole numbers of seconds, and slices of a second: a charge counts for its window and less than 1 s longer.
LIMITS = {
    "free": NO_LIMITS,
    "narrow": Limits((Window(3, 60),), (Window(50, 60),), 2),
    "wide": Limits((Window(2, 60), Window(5, 3600)), (Window(100, 3600),)),
}
Result = TypeVar("Result")
CALLERS = st.sampled_from(list(LIMITS))


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Model:
    """Every event of one caller: when a request was allowed, and when tokens were charged."""

    requests: list[float] = field(default_factory=list)
    tokens: list[tuple[float, int]] = field(default_factory=list)
    in_flight: int = 0

    def used(self, unit: str, seconds: float, now: float) -> int:
        events = self.tokens if unit == "tokens" else [(at, 1) for at in self.requests]
        return sum(amount for at, amount in events if now - at < seconds)


def done(coroutine: Coroutine[Any, Any, Result]) -> Result:
    """The result of a coroutine that never waits."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        result: Result = end.value
        return result
    raise AssertionError("it waits")


class Callers(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.accounts = MemoryAccounts(self.clock)
        self.models = {name: Model() for name in LIMITS}

    @rule(seconds=st.integers(0, 10) | st.integers(0, 4000))
    def time_passes(self, seconds: int) -> None:
        self.clock.now += seconds

    @rule(name=CALLERS)
    def asks(self, name: str) -> None:
        limits, model, now = LIMITS[name], self.models[name], self.clock.now
        entry = done(self.accounts.enter(name, limits))
        # Within less than a slice of a window's end, either is right.
        levels = [("requests", window) for window in limits.requests]
        levels += [("tokens", window) for window in limits.tokens]
        is_free = limits.concurrent is None or model.in_flight < limits.concurrent
        surely = is_free and all(
            model.used(unit, window.seconds * (1 + 1 / 60), now) < window.amount for unit, window in levels
        )
        possibly = is_free and all(
            model.used(unit, window.seconds, now) < window.amount for unit, window in levels
        )
        assert surely <= entry.allowed <= possibly
        if entry.allowed:
            model.requests.append(now)
            model.in_flight += 1

    @rule(name=CALLERS, tokens=st.integers(0, 200))
    def an_answer_ends(self, name: str, tokens: int) -> None:
        if self.models[name].in_flight:
            done(self.accounts.leave(name, LIMITS[name], tokens))
            self.models[name].in_flight -= 1
            self.models[name].tokens.append((self.clock.now, tokens))

    @invariant()
    def everything_is_counted(self) -> None:
        for name, model in self.models.items():
            balance = done(self.accounts.balance(name, LIMITS[name]))
            assert balance.in_flight == model.in_flight
            assert balance.total_requests == len(model.requests)
            assert balance.total_tokens == sum(amount for _, amount in model.tokens)


def test_requests_are_allowed_exactly_while_every_limit_has_something_left() -> None:
    run_state_machine_as_test(Callers, settings=settings(stateful_step_count=60))


async def test_a_refused_request_is_not_counted() -> None:
    accounts, limits = MemoryAccounts(Clock()), Limits((Window(1, 60),), concurrent=5)
    assert (await accounts.enter("a", limits)).allowed
    for _ in range(10):
        assert not (await accounts.enter("a", limits)).allowed
    balance = await accounts.balance("a", limits)
    assert (balance.requests[0].used, balance.in_flight, balance.total_requests) == (1, 1, 1)


async def test_a_changed_limit_applies_to_what_is_used_already() -> None:
    accounts = MemoryAccounts(Clock())
    for _ in range(3):
        await accounts.enter("a", Limits((Window(60, 60),)))
    assert not (await accounts.enter("a", Limits((Window(3, 60),)))).allowed
    assert (await accounts.enter("a", Limits((Window(4, 60),)))).allowed


async def test_the_callers_that_asked_last_are_kept_and_memory_is_bounded() -> None:
    clock = Clock()
    accounts, limits = MemoryAccounts(clock, most=100), Limits((Window(1, 86400),))
    await accounts.enter("persistent", limits)
    await accounts.leave("persistent", limits, 10)
    for number in range(1000):
        assert not (await accounts.enter("persistent", limits)).allowed
        clock.now += 1
        await accounts.enter(f"192.0.2.{number}", limits)
        if number < 900:
            await accounts.leave(f"192.0.2.{number}", limits, 10)
    assert len(accounts._accounts) == 100
    assert len(accounts.in_flight) == 100
    assert not (await accounts.enter("192.0.2.950", limits)).allowed
    assert (await accounts.enter("192.0.2.5", limits)).allowed


async def test_a_caller_that_is_forgotten_meanwhile_may_still_leave() -> None:
    accounts = MemoryAccounts(Clock(), most=1)
    await accounts.enter("a", NO_LIMITS)
    await accounts.enter("b", NO_LIMITS)
    await accounts.leave("a", NO_LIMITS, 10)
    assert (await accounts.balance("a", NO_LIMITS)).in_flight == 0

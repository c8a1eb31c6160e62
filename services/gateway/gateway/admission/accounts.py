"""What each caller has used, and who may use more: the state behind the limits.

`Accounts` is what an implementation shared by several gateways has to provide: each method that decides also
counts, so it is one step that no other request can interrupt.
"""

import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import Literal, NamedTuple, Protocol

from ..limits import Limits, Window
from .windows import MovingWindow

Unit = Literal["requests", "tokens"]

# More than a key file has room for. Without keys, an address that is forgotten begins anew; a client with so
# many addresses evades the limits anyway.
MAX_ACCOUNTS = 10_000


class Level(NamedTuple):
    """One window: `wait` is the time in seconds until more may be used, `reset` until nothing is used."""

    window: Window
    used: int
    wait: float
    reset: float

    @property
    def remaining(self) -> int:
        return max(0, self.window.amount - self.used)


class Balance(NamedTuple):
    """`in_flight` requests wait or run, of the `concurrent` that may. The totals cover the last `age`
    seconds.
    """

    requests: tuple[Level, ...]
    tokens: tuple[Level, ...]
    concurrent: int | None
    in_flight: int
    total_requests: int
    total_tokens: int
    age: float


class Entry(NamedTuple):
    """Whether a request may begin, and the caller's balance, in which it is counted if it may."""

    allowed: bool
    balance: Balance


class Accounts(Protocol):
    """`limits` are the caller's own; the balance has those that apply here, which may be a share of them."""

    async def enter(self, identity: str, limits: Limits) -> Entry:
        """Count a request, unless a limit is reached. Every request that is counted must leave."""

    async def leave(self, identity: str, limits: Limits, tokens: int) -> None:
        """A request has ended and has used so many tokens, which may be more than were left."""

    async def take_back(self, identity: str, limits: Limits) -> None:
        """A request leaves as if it had never entered."""

    async def balance(self, identity: str, limits: Limits) -> Balance:
        """The caller's balance; nothing is counted."""


class _Account:
    def __init__(self, now: float) -> None:
        self.since = now
        self.requests = self.tokens = 0
        self._windows: dict[tuple[Unit, int], MovingWindow] = {}

    def charge(self, unit: Unit, windows: tuple[Window, ...], amount: int, now: float) -> None:
        for window in windows:
            key = unit, window.seconds
            if key not in self._windows:
                self._windows[key] = MovingWindow(window.seconds)
            self._windows[key].charge(amount, now)

    def has_left(self, limits: Limits, now: float) -> bool:
        """Whether every window has something left."""
        units: tuple[tuple[Unit, tuple[Window, ...]], ...]
        units = ("requests", limits.requests), ("tokens", limits.tokens)
        return all(
            moving.used(now) < window.amount
            for unit, windows in units
            for window in windows
            if (moving := self._windows.get((unit, window.seconds)))
        )

    def levels(self, unit: Unit, windows: tuple[Window, ...], now: float) -> tuple[Level, ...]:
        return tuple(self._level(unit, window, now) for window in windows)

    def _level(self, unit: Unit, window: Window, now: float) -> Level:
        moving = self._windows.get((unit, window.seconds))
        if not moving:
            return Level(window, 0, 0, 0)
        return Level(window, moving.used(now), moving.wait(window.amount, now), moving.reset(now))


def always(workers: int) -> Callable[[], int]:
    return lambda: workers


ALONE = always(1)


class MemoryAccounts:
    """The accounts of one worker, in memory: the `most` callers that asked last. `workers` is how many there
    are: each enforces its share of the limits, since it counts by itself.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        most: int = MAX_ACCOUNTS,
        workers: Callable[[], int] = ALONE,
    ) -> None:
        self.in_flight: Counter[str] = Counter()
        self._clock = clock
        self._most = most
        self._workers = workers
        self._accounts: OrderedDict[str, _Account] = OrderedDict()

    async def enter(self, identity: str, limits: Limits) -> Entry:
        limits = limits.share(self._workers())
        account, now = self._account(identity), self._clock()
        is_full = limits.concurrent is not None and self.in_flight[identity] >= limits.concurrent
        allowed = not is_full and account.has_left(limits, now)
        if allowed:
            self._begin(identity, account, limits, now)
        return Entry(allowed, self._balance(identity, account, limits, now))

    def begin(self, identity: str, limits: Limits) -> None:
        """Count a request that somebody else has allowed; it has to leave as any."""
        self._begin(identity, self._account(identity), limits, self._clock())

    async def leave(self, identity: str, limits: Limits, tokens: int) -> None:
        self._end(identity)
        account = self._account(identity)
        account.tokens += tokens
        account.charge("tokens", limits.tokens, tokens, self._clock())

    async def take_back(self, identity: str, limits: Limits) -> None:
        self._end(identity)
        account = self._account(identity)
        account.requests -= 1
        account.charge("requests", limits.requests, -1, self._clock())

    async def balance(self, identity: str, limits: Limits) -> Balance:
        now, limits = self._clock(), limits.share(self._workers())
        return self._balance(identity, self._accounts.get(identity) or _Account(now), limits, now)

    def _begin(self, identity: str, account: _Account, limits: Limits, now: float) -> None:
        self.in_flight[identity] += 1
        account.requests += 1
        account.charge("requests", limits.requests, 1, now)

    def _end(self, identity: str) -> None:
        self.in_flight[identity] -= 1
        if not self.in_flight[identity]:
            del self.in_flight[identity]

    def _account(self, identity: str) -> _Account:
        if identity in self._accounts:
            self._accounts.move_to_end(identity)
            return self._accounts[identity]
        account = self._accounts[identity] = _Account(self._clock())
        if len(self._accounts) > self._most:
            self._accounts.popitem(last=False)
        return account

    def _balance(self, identity: str, account: _Account, limits: Limits, now: float) -> Balance:
        return Balance(
            account.levels("requests", limits.requests, now),
            account.levels("tokens", limits.tokens, now),
            limits.concurrent,
            self.in_flight[identity],
            account.requests,
            account.tokens,
            now - account.since,
        )

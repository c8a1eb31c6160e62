"""What each caller has used at all gateways, counted in Valkey, so that its limits are exact.

A request costs one round trip at its beginning; nobody waits for what is counted at its end. While Valkey is
not there, each gateway enforces its share of the limits on what it has counted itself; what is used then, it
never counts in Valkey.
"""

import asyncio
import json
from collections.abc import Iterable, Iterator
from functools import lru_cache, partial

import msgspec

from ..admission.accounts import Balance, Entry, Level, MemoryAccounts
from ..admission.windows import SLICES
from ..limits import UNITS, Limits, Window
from .link import Link, Part, Unavailable
from .scripts import script

# The longest window and a slice of it.
KEEP = max(UNITS.values()) * (SLICES + 1) // SLICES

SCRIPT = f"local SLICES, KEEP = {SLICES}, {KEEP}\n" + script("accounts")

Reply = asyncio.Future[bytes]

_unpack = msgspec.msgpack.Decoder(list[int]).decode


class SharedAccounts:
    """`local` counts this gateway's own requests, and decides while Valkey is not there."""

    def __init__(self, link: Link, local: MemoryAccounts) -> None:
        self._link = link
        self._local = local
        # Callers whose requests in flight Valkey may not know.
        self._unsure: set[str] = set()
        link.when_up(self._found)
        link.when_down(self._lost)

    async def enter(self, identity: str, limits: Limits) -> Entry:
        if not self._link.up:
            return await self._local.enter(identity, limits)
        reply = self._run(identity, "enter", _json(limits))
        try:
            # A client may leave meanwhile, and what Valkey decides has to be known nevertheless.
            allowed, *balance = _unpack(await asyncio.shield(reply))
        except Unavailable:
            return await self._local.enter(identity, limits)
        except asyncio.CancelledError:
            reply.add_done_callback(partial(self._give_back, identity, limits))
            raise
        if allowed:
            self._local.begin(identity, limits)
        return Entry(bool(allowed), _balance(limits, balance))

    async def leave(self, identity: str, limits: Limits, tokens: int) -> None:
        await self._local.leave(identity, limits, tokens)
        if self._link.up:
            self._run(identity, "leave", _json(limits), tokens)

    async def take_back(self, identity: str, limits: Limits) -> None:
        await self._local.take_back(identity, limits)
        if self._link.up:
            self._run(identity, "take_back", _json(limits))

    async def balance(self, identity: str, limits: Limits) -> Balance:
        try:
            _, *balance = _unpack(await self._run(identity, "balance", _json(limits)))
        except Unavailable:
            return await self._local.balance(identity, limits)
        return _balance(limits, balance)

    def _run(self, identity: str, action: str, *args: Part) -> Reply:
        keys = self._link.key("limits", identity), self._link.key("members")
        reply = self._link.post(SCRIPT, keys, (action, self._link.member, *args))
        reply.add_done_callback(partial(self._replied, identity))
        return reply

    def _replied(self, identity: str, reply: Reply) -> None:
        if reply.cancelled() or reply.exception():
            self._unsure.add(identity)

    def _give_back(self, identity: str, limits: Limits, reply: Reply) -> None:
        if not reply.exception() and _unpack(reply.result())[0] and self._link.up:
            self._run(identity, "take_back", _json(limits))

    def _lost(self) -> None:
        self._unsure.update(self._local.in_flight)

    def _found(self) -> None:
        """Before anything else is counted there: it may have forgotten everything, or know what is past."""
        unsure, self._unsure = self._unsure, set()
        for identity in unsure.union(self._local.in_flight):
            self._run(identity, "tell", self._local.in_flight[identity])


@lru_cache(1024)
def _json(limits: Limits) -> str:
    units = {"requests": limits.requests, "tokens": limits.tokens}
    fields: dict[str, object] = {
        unit: [(window.amount, window.seconds) for window in windows] for unit, windows in units.items()
    }
    if limits.concurrent is not None:
        fields["concurrent"] = limits.concurrent
    return json.dumps(fields)


def _balance(limits: Limits, reply: list[int]) -> Balance:
    in_flight, requests, tokens, age, *levels = reply
    numbers = iter(levels)
    return Balance(
        _levels(limits.requests, numbers),
        _levels(limits.tokens, numbers),
        limits.concurrent,
        in_flight,
        requests,
        tokens,
        age / 1e6,
    )


def _levels(windows: Iterable[Window], numbers: Iterator[int]) -> tuple[Level, ...]:
    return tuple(Level(window, next(numbers), next(numbers) / 1e6, next(numbers) / 1e6) for window in windows)

"""Which gateways live, and which one of them is the scheduler: leases in Valkey, renewed by beats."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

import structlog

from ..telemetry.metrics import SHARED_GATEWAYS, SHARED_SCHEDULER, child
from .link import Link, Part, Unavailable
from .scripts import script

BEAT_SECONDS = 0.5
# A gateway that has not beaten for so long is dead, and its slots are free.
LEASE_SECONDS = 3.0
# Requests wait for so long if the scheduler dies: until its lease as a member has ended, too.
SCHEDULER_SECONDS = 2.0

BEAT, LEAVE = script("beat"), script("leave")


class Members:
    """`names` are the members, this one among them, `count` how many there were when Valkey was last there.
    `epoch` grows with each new scheduler; what an earlier one has decided is void.
    """

    def __init__(self, link: Link, prefix: str, count: int) -> None:
        self.names: frozenset[str] = frozenset({link.member})
        self.count = count
        self.scheduler, self.epoch = "", 0
        self._link = link
        self._prefix = prefix
        self._keys = [link.key(name) for name in ("members", "scheduler", "epoch")]
        self._valid_until = 0.0
        self._has_left = False
        self._poked = asyncio.Event()
        self.joined: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._told: Callable[[bool], None] = lambda _: None
        link.subscribe(link.key("poke"), lambda _: self._poked.set())
        link.when_up(self._poked.set)
        link.when_down(self._lost)

    @property
    def is_scheduler(self) -> bool:
        """Whether this gateway decides for all, and nobody else can do so yet."""
        return self.scheduler == self._link.member and asyncio.get_running_loop().time() < self._valid_until

    def when_changed(self, told: Callable[[bool], None]) -> None:
        """`told` is called after each beat that finds anything changed; with true if the others have taken
        this gateway for dead.
        """
        self._told = told

    async def run(self) -> None:
        """Beat until cancelled, or until it leaves."""
        while not self._has_left:
            try:
                await self._beat()
            except Unavailable:
                pass
            except Exception:
                # A defect in what follows from the beat: the next one begins anew.
                structlog.get_logger().exception("shared_beat_failed")
                self._lost()
            with suppress(TimeoutError):
                async with asyncio.timeout(BEAT_SECONDS):
                    await self._poked.wait()
            self._poked.clear()

    def poke(self) -> None:
        """Let everybody beat at once, and so learn of a change."""
        self._link.publish(self._link.key("poke"), b"")

    async def leave(self) -> None:
        """Be a member no longer: its slots are free, and another one decides."""
        self._has_left = True
        with suppress(Unavailable):
            await self._link.call(LEAVE, self._keys[:2], [self._link.member])
            self.poke()

    def _lost(self) -> None:
        self.scheduler, self.epoch = "", 0
        child(SHARED_SCHEDULER, self._prefix).set(0)

    async def _beat(self) -> None:
        asked_at = asyncio.get_running_loop().time()
        leases = int(LEASE_SECONDS * 1000), int(SCHEDULER_SECONDS * 1000)
        args: list[Part] = [self._link.member, *leases, int(not self.epoch)]
        was_member, scheduler, epoch, names = await self._link.call(BEAT, self._keys, args)
        before = self.scheduler, self.epoch, self.names
        self.scheduler, self.epoch = scheduler.decode(), epoch
        self.names = frozenset(name.decode() for name in names)
        self.count = len(self.names)
        child(SHARED_GATEWAYS, self._prefix).set(self.count)
        child(SHARED_SCHEDULER, self._prefix).set(self.scheduler == self._link.member)
        if not self.joined.done():
            self.joined.set_result(None)
        if self.scheduler == self._link.member:
            self._valid_until = asked_at + SCHEDULER_SECONDS
        if not was_member or before != (self.scheduler, self.epoch, self.names):
            self._told(not was_member)

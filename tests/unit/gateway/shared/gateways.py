"""Gateways that share a queue, without HTTP around them."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress

from gateway.admission.estimates import Estimates
from gateway.admission.schedule import Bounds
from gateway.admission.turn import Turn
from gateway.ask.waiting import Used
from gateway.backends.choice import Offer
from gateway.errors import GatewayError
from gateway.shared.ledger import SharedLedger
from gateway.shared.link import Link
from gateway.shared.members import Members

SLOTS = 4
BOUNDS = Bounds(10**6, 10**6, 60, 10**6)


class Servers:
    def offers(self, model: str) -> Sequence[Offer]:
        return [Offer("ollama", slots=SLOTS)]


class Gateway:
    def __init__(self, url: str, bounds: Bounds = BOUNDS, count: int = 1) -> None:
        self.link = Link(url, "test")
        self.members = Members(self.link, "test", count)
        self.ledger = SharedLedger(self.link, self.members, Servers(), 0, Estimates(), bounds)
        parts = self.link.run(), self.members.run(), self.ledger.run()
        self._tasks = [asyncio.ensure_future(part) for part in parts]
        self.requests: list[Request] = []

    def ask(self, caller: str, cost: float = 100) -> "Request":
        request = Request(self, caller, cost)
        self.requests.append(request)
        return request

    async def kill(self) -> None:
        """It does nothing any more, and says so to nobody."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def end(self) -> None:
        """Its requests end, and then itself."""
        for request in self.requests:
            await request.end()
        await self.members.leave()
        await self.kill()

    @property
    def running(self) -> int:
        return sum(request.turn.is_running for request in self.requests)


class Request:
    """Runs from its turn on, until `end`."""

    def __init__(self, gateway: Gateway, caller: str, cost: float) -> None:
        used = Used(0, int(cost), complete=True)
        self.turn = Turn("id", caller, "m", lambda: used, lambda _: None, cost=cost)
        self.refused: GatewayError | None = None
        self._ledger = gateway.ledger
        self._task = asyncio.ensure_future(self._run())

    async def _run(self) -> None:
        try:
            await self._ledger.enter(self.turn)
            await self._ledger.wait(self.turn)
            await asyncio.Event().wait()
        except GatewayError as error:
            self.refused = error
        finally:
            self._ledger.leave(self.turn)
            self.turn.started = None

    async def end(self) -> None:
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task

"""A relayed answer as a Starlette response."""

from collections.abc import Callable

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from .delivery import Delivery
from .relay import Relay

# Key of the client's connection in the ASGI scope's `extensions`, set by the worker.
CONNECTION = "sluice.connection"


class Relayed(Response):
    """All waiting happens in `__call__`, where a disconnect of the client is noticed."""

    def __init__(self, relay: Relay, receive: Callable[[Receive], Receive] = lambda receive: receive) -> None:
        super().__init__()
        self._relay = relay
        self._receive = receive

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        connection = scope.get("extensions", {}).get(CONNECTION)
        await self._relay.run(Delivery(self._receive(receive), send, connection))

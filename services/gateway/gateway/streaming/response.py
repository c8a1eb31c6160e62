"""An answer as what a route returns."""

from collections.abc import Callable

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from .relay import Relay

# Where the worker puts the client's connection: ASGI's name for what servers offer beyond it.
CONNECTION = "sluice.connection"


class Relayed(Response):
    """Everything that may wait happens once this is called: from then on the client is watched."""

    def __init__(self, relay: Relay, receive: Callable[[Receive], Receive] = lambda receive: receive) -> None:
        super().__init__()
        self._relay = relay
        self._receive = receive

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        connection = scope.get("extensions", {}).get(CONNECTION)
        await self._relay.run(self._receive(receive), send, connection)

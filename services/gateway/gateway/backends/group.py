"""The servers behind one name of the settings: one for each address that the name has."""

from collections.abc import Callable, Iterable

import httpx
import structlog

from ..servers import Server
from .backend import Backend
from .discovery import Naming, addresses, is_address, named


class Group:
    """`create` makes the backend of a server with a name of its own, which is found by `naming`."""

    def __init__(
        self, server: Server, create: Callable[[Server, str], Backend], naming: Naming = named
    ) -> None:
        self._server = server
        self._create = create
        self._naming = naming
        url = httpx.URL(server.url)
        self._host, self._port = url.host, url.port or (443 if url.scheme == "https" else 80)
        self.is_looked_up = not is_address(self._host)
        self._names: dict[str, str] = {}
        # Without a lookup, and while there is a single address, it is found again for each connection.
        self._first = create(server, server.name)
        self._by_address: dict[str, Backend] = {}

    @property
    def backends(self) -> Iterable[Backend]:
        return self._by_address.values() or (self._first,)

    async def look_up(self) -> None:
        """Find the addresses that the name has now."""
        names = self._naming(self._names, await addresses(self._host, self._port), self._server.name)
        if names == self._names:
            return
        known, self._by_address = self._by_address, {}
        for address, name in names.items():
            backend = known.get(address)
            if backend is None:
                is_first = not known and not self._by_address and name == self._first.name
                backend = self._first if is_first else self._create(self._server, name)
            if len(names) > 1:
                backend.upstream.pin(address)
            self._by_address[address] = backend
        if len(known) > 1 or len(names) > 1:
            servers = sorted(names.values())
            structlog.get_logger().info("servers", host=self._host, servers=servers)
        self._names = names

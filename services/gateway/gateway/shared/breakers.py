"""A model server that one gateway's requests have found to fail, or to be well again, is so for all."""

from collections.abc import Callable

import msgspec
import structlog

from ..backends.backend import Backend
from .link import Link


class _Turned(msgspec.Struct, array_like=True):
    """As `Breaker.told`."""

    server: str
    openings: int


class SharedBreakers:
    """`find` returns the server with a name."""

    def __init__(self, link: Link, find: Callable[[str], Backend | None]) -> None:
        self._link = link
        self._channel = link.key("breakers")
        self._find = find
        link.subscribe(self._channel, self._follow)

    def tell(self, server: str, openings: int) -> None:
        """The breaker of a server has opened or closed here."""
        self._link.publish(self._channel, msgspec.msgpack.encode(_Turned(server, openings)))

    def _follow(self, packed: bytes) -> None:
        """Whoever has told it follows, too: of what several tell at the same moment, the last one counts."""
        try:
            turned = msgspec.msgpack.decode(packed, type=_Turned)
        except msgspec.MsgspecError as error:
            structlog.get_logger().warning("shared_message_unknown", error=str(error))
            return
        if backend := self._find(turned.server):
            backend.follow(turned.openings)

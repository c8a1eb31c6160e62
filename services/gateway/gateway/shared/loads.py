"""One gateway loads a model for all that wait for it. While Valkey is not there, each does so for itself."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from hashlib import blake2b

import msgspec

from ..backends.loading import Key
from ..errors import UpstreamBusy, UpstreamFailed, UpstreamTimeout, UpstreamTruncated, UpstreamUnreachable
from .link import Link, Part, Unavailable
from .scripts import script

# A gateway that dies has its loads taken over after this time.
LEASE_SECONDS = 3.0
RENEWAL_SECONDS = 1.0

LOAD, LOADED = script("load"), script("loaded")

# Failures of the server, which others need not try to find. All others are the gateway's own.
FAILURES = {
    error.code: error
    for error in (UpstreamFailed, UpstreamBusy, UpstreamTimeout, UpstreamTruncated, UpstreamUnreachable)
}

Act = Callable[[], Awaitable[float | None]]


class _Outcome(msgspec.Struct, array_like=True):
    """`seconds` is None if the server has refused or failed; `code` is empty unless it has failed."""

    seconds: float | None = None
    code: str = ""
    message: str = ""
    upstream: tuple[int, bytes] | None = None

    def get(self) -> float | None:
        if not self.code:
            return self.seconds
        error = FAILURES.get(self.code, UpstreamFailed)(self.message)
        error.upstream = self.upstream
        raise error


class SharedLoads:
    def __init__(self, link: Link) -> None:
        self._link = link
        self._channel = link.key("loads")
        self._news = asyncio.Event()
        link.subscribe(self._channel, lambda _: self._tell())
        link.when_down(self._tell)

    async def once(self, server: str, key: Key, since: float, load: Act) -> float | None:
        """As `Loads.once`."""
        loop = asyncio.get_running_loop()
        name = self._name(server, key)
        seen: Part = ""
        while True:
            news = self._news
            args = (int(LEASE_SECONDS * 1000), seen, int((loop.time() - since) * 1e6))
            try:
                said, what, seen = await self._link.call(LOAD, [name], [self._link.member, *args])
            except Unavailable:
                return await load()
            if said == b"ended":
                return msgspec.msgpack.decode(what, type=_Outcome).get()
            if said == b"yours":
                return await self._load(name, load)
            with suppress(TimeoutError):
                async with asyncio.timeout(what / 1000):
                    await news.wait()

    async def _load(self, name: str, load: Act) -> float | None:
        renewing = asyncio.create_task(self._renew(name))
        outcome: _Outcome | None = None
        try:
            seconds = await load()
            outcome = _Outcome(seconds)
            return seconds
        except UpstreamFailed as error:
            outcome = _Outcome(None, error.code, error.message, error.upstream)
            raise
        finally:
            renewing.cancel()
            ended = (int(bool(outcome.code)), msgspec.msgpack.encode(outcome)) if outcome else ()
            self._link.post(LOADED, [name, self._channel], [self._link.member, *ended])

    async def _renew(self, name: str) -> None:
        while True:
            await asyncio.sleep(RENEWAL_SECONDS)
            with suppress(Unavailable):
                args = (self._link.member, int(LEASE_SECONDS * 1000), "", 0)
                await self._link.call(LOAD, [name], args)

    def _name(self, server: str, key: Key) -> str:
        model, options = key
        digest = blake2b(repr(sorted(options)).encode(), digest_size=8).hexdigest()
        return self._link.key("load", server, model, digest)

    def _tell(self) -> None:
        """Let everybody look who waits."""
        self._news.set()
        self._news = asyncio.Event()

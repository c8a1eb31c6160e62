"""One model server: asking it, and what is known of its health and its models."""

import asyncio
import math
import time
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing, suppress
from typing import Literal

import structlog

from ..errors import GatewayError, UpstreamFailed
from ..names import full_name, meant_by
from .client import Upstream, UpstreamAnswer
from .listing import LoadedModel, listed, loaded, remote

# Quick while something is missing, so that a start is noticed at once; slow when all is well.
POLL_SECONDS_MISSING = 0.5
POLL_SECONDS_READY = 10
POLL_TIMEOUT = 5


class Backend:
    """One Ollama. What is known of it is as of the last poll; `polled` is set after the first.

    Of its `models`, what is asked of those that are `remote` leaves for another host, and of those in `local`
    it does not. While this gateway changes something, and until it has looked afterwards, `local` is empty.
    """

    def __init__(
        self, name: str, upstream: Upstream, default_model: str, awaited: tuple[str, ...] = ()
    ) -> None:
        self.name = name
        self.upstream = upstream
        self.default_model = default_model
        self.awaited = awaited
        self.up = False
        self.models: frozenset[str] = frozenset()
        self.remote: frozenset[str] = frozenset()
        self._local: frozenset[str] = frozenset()
        self.loaded: tuple[LoadedModel, ...] = ()
        self.polled = asyncio.Event()
        self._answered: set[str] = set()  # since the last poll: models that must be in memory
        self._doubted = asyncio.Event()
        self._changes = 0  # under way
        self._polling = asyncio.Lock()
        # When the last poll that has ended began, and how it failed; when the models were last changed.
        self._as_of = self._changed = -math.inf
        self._failure: GatewayError | None = None

    @property
    def missing(self) -> str | None:
        """What keeps this backend from answering, in words; None if nothing does."""
        if not self.up:
            return "the model server is not reachable"
        if self.default_model and not self.has(self.default_model):
            return f"the model {self.default_model} is not there yet"
        if not self.models and self.awaited:
            return f"none of the models is there yet: {', '.join(self.awaited)}"
        if not self.models:
            return "the model server has no models"
        return None

    @property
    def local(self) -> frozenset[str]:
        return frozenset() if self._changes else self._local

    def has(self, model: str) -> bool:
        return full_name(model) in self.models

    def has_loaded(self, model: str) -> bool:
        name = full_name(model)
        return name in self._answered or name in {loaded.name for loaded in self.loaded}

    def label(self, model: str) -> str:
        """The model as a metric's label: only names that the backend has become one."""
        return full_name(model) if self.has(model) else "other"

    async def watch(self) -> None:
        """Polls for ever."""
        while True:
            self._doubted.clear()
            async with self._polling:
                await self._poll()
            self.polled.set()
            await asyncio.sleep(POLL_SECONDS_MISSING)
            if not self.missing:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._doubted.wait(), POLL_SECONDS_READY)

    def stream(
        self, method: str, path: str, body: bytes, headers: Mapping[str, str], model: str | None
    ) -> AbstractAsyncContextManager[UpstreamAnswer]:
        """As `Upstream.ask`; `model` is the one that answers, if one does."""
        return self._answering(self.upstream.ask(method, path, body, headers), model)

    @asynccontextmanager
    async def change(
        self, method: str, path: str, body: bytes | AsyncIterable[bytes], headers: Mapping[str, str]
    ) -> AsyncIterator[UpstreamAnswer]:
        """As `Upstream.ask_once`; the models may be others from when the answer's end is read."""
        self._changes += 1
        try:
            asking = self.upstream.ask_once(method, path, body, headers)
            async with self._answering(asking, None) as answer:
                yield answer
        finally:
            self._changes -= 1
            self._changed = time.monotonic()
            self._local = frozenset()
            self._doubted.set()

    @asynccontextmanager
    async def _answering(
        self, asking: Awaitable[UpstreamAnswer], model: str | None
    ) -> AsyncIterator[UpstreamAnswer]:
        """A failure is a reason to look at once whether the backend is still there."""
        try:
            with closing(await asking) as answer:
                if model and self.has(model):
                    self._answered.add(full_name(model))
                yield answer
        except UpstreamFailed:
            self._doubted.set()
            raise

    async def look(self) -> None:
        """Returns when a poll that began after this call has ended. Raises GatewayError if it has failed."""
        called = time.monotonic()
        async with self._polling:
            while self._as_of < max(called, self._changed):
                await self._poll()
        if self._failure:
            raise type(self._failure)(self._failure.message)

    async def where(self, model: str) -> Literal["here", "elsewhere"] | None:
        """None if it is nowhere; a model that is not known here is looked for. Raises GatewayError."""
        name = meant_by(model)
        if name not in self.local:
            await self.look()
            if name in self.remote:
                return "elsewhere"
        return "here" if name in self.models else None

    async def _poll(self) -> None:
        was_missing = self.missing
        began = time.monotonic()
        try:
            tags = await self.upstream.get_json("/api/tags", POLL_TIMEOUT)
            running = await self.upstream.get_json("/api/ps", POLL_TIMEOUT)
            self.models = listed(tags)
            self.remote = remote(tags)
            # What has been changed meanwhile may be in the list as it was before.
            self._local = self.models - self.remote if began >= self._changed else frozenset()
            self.loaded = loaded(running)
            self._answered.clear()
            self._failure = None
        except GatewayError as error:
            self._failure = error
        except Exception:
            # Whatever it was: without this loop /readyz would say for ever what it said last.
            structlog.get_logger().exception("defect", backend=self.name)
            self._failure = UpstreamFailed("the model server's list of models cannot be read")
        self._as_of = began
        self.up = self._failure is None
        if not self.up:
            self.loaded = ()
        if self.missing != was_missing:
            structlog.get_logger().info("backend", backend=self.name, missing=self.missing)

"""What polls tell about one model server: whether it is up, its models, and those in memory."""

import asyncio
import math
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Literal

import structlog

from ..ask.affinity import LoadOptions
from ..errors import GatewayError, Overloaded, UpstreamFailed, UpstreamTimeout, UpstreamUnreachable
from ..names import full_name, requested_name
from .client import Upstream
from .listing import LoadedModel, capacity, listed, loaded, remote
from .reloads import Reloads
from .residents import Residents

# Short while something is missing, so that a start is noticed immediately; long otherwise.
POLL_SECONDS_MISSING = 0.5
POLL_SECONDS_READY = 10
# With several servers the others can answer meanwhile, so that it is worth knowing soon.
POLL_SECONDS_SEVERAL = 3
POLL_TIMEOUT = 5


def nothing() -> None:
    """For those who do not want to know."""


class Polled:
    """One Ollama. Its state is that of the last poll; `polled` is set after the first one.

    Of its `models`, those in `remote` forward requests to another host, those in `local` are known not to.
    While a request that changes models runs, and until the next poll after it, `local` is empty.
    """

    def __init__(
        self, name: str, upstream: Upstream, default_model: str, awaited: tuple[str, ...] = ()
    ) -> None:
        self.name = name
        self.upstream = upstream
        self.default_model = default_model
        self.awaited = awaited
        self.has_fellows = False
        # Called after a change of anything that decides who answers.
        self.on_change: Callable[[], None] = nothing
        self.up = False
        self.models: frozenset[str] = frozenset()
        self.remote: frozenset[str] = frozenset()
        self._local: frozenset[str] = frozenset()
        self.loaded: tuple[LoadedModel, ...] = ()
        # As reported, else 0.
        self._slots = self._models_at_once = 0
        self.polled = asyncio.Event()
        self.residents = Residents()
        self._reloads = Reloads()
        self._poll_soon = asyncio.Event()
        self._changes = 0  # changing requests in flight
        self._polling = asyncio.Lock()
        # Start of the last completed poll, its error if any, and the time of the last change of models.
        self._polled_at = self._changed_at = -math.inf
        self._failure: GatewayError | None = None

    @property
    def missing(self) -> str | None:
        """Why this backend is not ready, as text; None if it is."""
        if not self.up:
            return "the model server is not reachable"
        if self.default_model and not self.has(self.default_model):
            return f"the model {self.default_model} is not installed yet"
        if not self.models and self.awaited:
            return f"none of these models is installed yet: {', '.join(self.awaited)}"
        if not self.models:
            return "the model server has no models"
        return None

    @property
    def local(self) -> frozenset[str]:
        return frozenset() if self._changes else self._local

    def has(self, model: str) -> bool:
        return full_name(model) in self.models

    def has_loaded(self, model: str) -> bool:
        return full_name(model) in self.residents

    def ready(self, model: str, options: LoadOptions) -> bool:
        """Whether a request has no load to wait for: `model` is in memory for certain, with these options, or
        it is not one that this server can load.
        """
        name = requested_name(model)
        is_loadable = self.up and name in self.models and name not in self.remote
        return not is_loadable or self.residents.ready(name, options)

    def count_reloads(self, model: str, options: LoadOptions) -> None:
        """A request for `model` with these load options is about to be sent."""
        if full_name(model) in self.local:
            self._reloads.sent(full_name(model), options, self.has_loaded(model))

    def expect(self, model: str, options: LoadOptions, keep_alive: float | None) -> None:
        """A request for `model` is about to be sent; see `Residents.asked`."""
        name = requested_name(model)
        if name in self.models:
            self.residents.asked(name, options, keep_alive)

    def label(self, model: str) -> str:
        """The model as a metric label; "other" unless the backend has it, which bounds the label's values."""
        return full_name(model) if self.has(model) else "other"

    @property
    def pause(self) -> float:
        """Seconds until the next poll of a server that is ready."""
        return POLL_SECONDS_SEVERAL if self.has_fellows else POLL_SECONDS_READY

    async def watch(self) -> None:
        """Poll until cancelled."""
        while True:
            self._poll_soon.clear()
            async with self._polling:
                await self._poll()
            self.polled.set()
            await asyncio.sleep(POLL_SECONDS_MISSING)
            if not self.missing:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._poll_soon.wait(), self.pause)

    async def refresh(self) -> None:
        """Wait for a poll that begins after this call. Raises GatewayError if it fails."""
        called = time.monotonic()
        async with self._polling:
            while self._polled_at < max(called, self._changed_at):
                await self._poll()
        if self._failure:
            raise type(self._failure)(self._failure.message)

    async def locate(self, model: str) -> Literal["local", "remote"] | None:
        """Where the model runs, None if it does not exist; polls for an unknown one. Raises GatewayError."""
        name = requested_name(model)
        if name not in self.local:
            await self.refresh()
            if name in self.remote:
                return "remote"
        return "local" if name in self.models else None

    def responded(self) -> None:
        """A poll has succeeded."""

    def did_not_respond(self) -> None:
        """A poll has got no response."""

    async def _poll(self) -> None:
        was_missing = self.missing
        began = time.monotonic()
        try:
            tags = await self.upstream.get_json("/api/tags", POLL_TIMEOUT)
            running = await self.upstream.get_json("/api/ps", POLL_TIMEOUT)
            self.models = listed(tags)
            self.remote = remote(tags)
            # The list may predate a change made during the poll.
            self._local = self.models - self.remote if began >= self._changed_at else frozenset()
            self.loaded = loaded(running)
            self._slots, self._models_at_once = capacity(running)
            self._failure = None
            self.responded()
        except (UpstreamUnreachable, UpstreamTimeout, Overloaded) as error:
            self._failure = error
            self.did_not_respond()
        except GatewayError as error:
            # Not the status of the answer: a client would take a 401 or 404 for its own.
            self._failure = _unreadable(error.message)
        except Exception:
            # Whatever the error: if this loop ended, /readyz would report an old state for ever.
            structlog.get_logger().exception("unhandled_exception", backend=self.name)
            self._failure = _unreadable("it is malformed")
        self._polled_at = began
        self.up = self._failure is None
        if not self.up:
            self.loaded = ()
        self.residents.polled(self.loaded, began)
        self.on_change()
        if self.missing != was_missing:
            structlog.get_logger().info("backend", backend=self.name, missing=self.missing)


def _unreadable(reason: str) -> UpstreamFailed:
    return UpstreamFailed(f"the model server's list of models could not be read: {reason}")

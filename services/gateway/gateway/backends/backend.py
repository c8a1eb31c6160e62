"""One model server: requests to it, and whether it should get any."""

import asyncio
import math
import time
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, closing
from hashlib import blake2b
from typing import NamedTuple

from ..errors import (
    GatewayError,
    ModelNotFound,
    UpstreamBusy,
    UpstreamFailed,
    UpstreamRefused,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from ..names import requested_name
from .breaker import Breaker
from .choice import Offer
from .client import Upstream, UpstreamAnswer
from .loading import Loader
from .polling import Polled
from .speed import Speed

# A server that has not begun any answer for so long gets no more requests, if its fellows answer.
SILENT_SECONDS = 30

# Assumed of an Ollama about which nothing is known.
UNKNOWN_SLOTS = 4


def never() -> float:
    """When fellows have answered, if there are none."""
    return -math.inf


class Assumed(NamedTuple):
    """What settings say about all servers: slots of a model, None if it is up to the server; Ollama's own
    settings, 0 if they are not known.
    """

    slots: int | None = None
    num_parallel: int = 0
    max_loaded_models: int = 0


NOTHING_ASSUMED = Assumed()


class Backend(Polled):
    """With twice the `weight`, twice as many conversations are at home here."""

    def __init__(
        self,
        name: str,
        upstream: Upstream,
        default_model: str,
        awaited: tuple[str, ...] = (),
        weight: float = 1.0,
        assumed: Assumed = NOTHING_ASSUMED,
        load_timeout: float | None = None,
    ) -> None:
        super().__init__(name, upstream, default_model, awaited)
        self.weight = weight
        self._seed = int.from_bytes(blake2b(name.encode(), digest_size=8).digest()) | 1
        self.breaker = Breaker()
        # By model, of those that are installed.
        self.speeds: dict[str, Speed] = {}
        self.answered_at = -math.inf
        self.fellows_answered_at: Callable[[], float] = never
        self.loader = Loader(name, upstream, load_timeout, self.residents, self._loaded)
        self._assumed = assumed
        # Requests without an answer, each with the time at which it was sent.
        self._unanswered: dict[object, float] = {}
        # Since the last answer: when the first request was sent, and for how long those that have left had
        # waited, all together. Clients may have less patience than SILENT_SECONDS.
        self._first_sent_at: float | None = None
        self._waited = 0.0
        # Those of them that can be sent to another server, as long as the function says so.
        self._movable: dict[asyncio.Timeout, Callable[[], bool]] = {}

    @property
    def available(self) -> bool:
        """Whether requests should be sent here."""
        return self.up and self.breaker.passes

    @property
    def silent_since(self) -> float | None:
        """Since when the server has answered nothing although it was asked, if requests have waited long and
        one still does.
        """
        if self._first_sent_at is None or not self._unanswered:
            return None
        oldest = next(iter(self._unanswered.values()))
        waiting = time.monotonic() - oldest if oldest > self.answered_at else 0
        return self._first_sent_at if self._waited + waiting > SILENT_SECONDS else None

    @property
    def is_waited_for(self) -> bool:
        """Whether requests wait for an answer, or for a load."""
        return bool(self._unanswered or self._movable)

    def offer(self, model: str) -> Offer:
        """What it can do with the model, a canonical name."""
        slots, loaded = self.slots(model), self.has_loaded(model)
        return Offer(self.name, self._seed, self.weight, slots, self.models_at_once(), loaded)

    def slots(self, model: str) -> int:
        """Answers that a model generates at once; 0: no limit. Models of other hosts have none."""
        if model in self.remote:
            return 0
        if self._assumed.slots is not None:
            return self._assumed.slots
        return self._slots or self._assumed.num_parallel or UNKNOWN_SLOTS

    def models_at_once(self) -> int:
        """Models that are in memory at once; 0: no known limit."""
        return self._models_at_once or self._assumed.max_loaded_models

    def speed(self, model: str) -> Speed:
        """How fast it answers with the model."""
        return self.speeds.setdefault(self.label(model), Speed())

    async def ask(
        self, method: str, path: str, body: bytes, headers: Mapping[str, str], model: str | None
    ) -> UpstreamAnswer:
        """As `Upstream.ask`; `model` is the model that answers, if any. Read the answer within `reading`."""
        request, sent_at = object(), time.monotonic()
        self._unanswered[request] = sent_at
        self._first_sent_at = self._first_sent_at or sent_at
        name = requested_name(model) if model else ""
        is_trial = self.breaker.sent()
        if is_trial:
            self.on_change()
        try:
            answer = await self.upstream.ask(method, path, body, headers)
        except UpstreamFailed as error:
            self.residents.doubt(name)
            self.failed(error)
            raise
        except asyncio.CancelledError:
            self.residents.doubt(name)
            if self.silent_since and self.fellows_answered_at() > self.silent_since:
                self.breaker.trip()
                self.on_change()
            self._waited += time.monotonic() - sent_at
            raise
        except UpstreamRefused as error:
            self._succeeded()
            if isinstance(error, ModelNotFound):
                self._poll_soon.set()
            raise
        finally:
            if is_trial:
                self.breaker.given_up()
                self.on_change()
            del self._unanswered[request]
        self._succeeded()
        if name in self.models:
            is_new = name not in self.residents
            self.residents.answered(name)
            if is_new:
                self.on_change()
        return answer

    async def unless_lost(
        self, answering: Awaitable[UpstreamAnswer], can_move: Callable[[], bool]
    ) -> UpstreamAnswer:
        """The answer to a request that waits for this server. Raises UpstreamTimeout if the server stops
        responding meanwhile, and the request can be sent to another one.
        """
        try:
            async with asyncio.timeout(None) as limit:
                self._movable[limit] = can_move
                try:
                    return await answering
                finally:
                    del self._movable[limit]
                    del limit  # it references this task, and its CancelledError this frame: a cycle
        except TimeoutError:
            pass
        # Not within `except`: the TimeoutError would stay the context of this error, a reference cycle.
        raise UpstreamTimeout("the model server does not respond")

    @asynccontextmanager
    async def reading(self, answer: UpstreamAnswer) -> AsyncIterator[UpstreamAnswer]:
        """Until the end of an answer, which is then closed."""
        with closing(answer):
            try:
                yield answer
            except UpstreamFailed as error:
                self.failed(error)
                raise

    @asynccontextmanager
    async def stream(
        self, method: str, path: str, body: bytes, headers: Mapping[str, str], model: str | None
    ) -> AsyncIterator[UpstreamAnswer]:
        """As `ask`, with the end of the answer."""
        async with self.reading(await self.ask(method, path, body, headers, model)) as answer:
            yield answer

    @asynccontextmanager
    async def change(
        self, method: str, path: str, body: bytes | AsyncIterable[bytes], headers: Mapping[str, str]
    ) -> AsyncIterator[UpstreamAnswer]:
        """As `Upstream.ask_once`, for requests that change the models."""
        self._changes += 1
        self.on_change()
        try:
            try:
                answer = await self.upstream.ask_once(method, path, body, headers)
            except UpstreamFailed:
                self._poll_soon.set()
                raise
            async with self.reading(answer):
                yield answer
        finally:
            self._changes -= 1
            self._changed_at = time.monotonic()
            self._local = frozenset()
            self.residents.forget()
            self._poll_soon.set()
            self.on_change()

    def failed(self, error: GatewayError) -> None:
        """A request or its answer has failed: find out at once whether the server is up."""
        self._heard()
        if isinstance(error, UpstreamUnreachable):
            self.up = False
        if not isinstance(error, UpstreamBusy):
            self.breaker.failed()
        self._poll_soon.set()
        self.on_change()

    def _loaded(self, failure: GatewayError | None) -> None:
        """A load has ended."""
        if isinstance(failure, UpstreamFailed):
            self.failed(failure)
        self._poll_soon.set()
        self.on_change()

    def _heard(self) -> None:
        """The server has not been silent."""
        self._first_sent_at, self._waited = None, 0.0

    def _succeeded(self) -> None:
        self._heard()
        self.answered_at = time.monotonic()
        was_closed = self.breaker.is_closed
        self.breaker.succeeded()
        if not was_closed:
            self.on_change()

    def responded(self) -> None:
        self.breaker.polled()

    def did_not_respond(self) -> None:
        """Send requests that wait for this server to others."""
        now = asyncio.get_running_loop().time()
        for limit, can_move in self._movable.items():
            if can_move():
                limit.reschedule(now)

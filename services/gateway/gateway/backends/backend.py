"""One model server: requests to it, and whether it should get any."""

import asyncio
import math
import time
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Mapping, Sequence
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
from .silence import SILENT_SECONDS, Silence
from .speed import Speed

# Assumed of an Ollama about which nothing is known.
UNKNOWN_SLOTS = 4


def never() -> float:
    """When another server has answered last, if there is no other."""
    return -math.inf


class Assumed(NamedTuple):
    """What settings say about all servers: slots of a model, None if it is up to the server; Ollama's own
    settings, 0 if they are not known.
    """

    slots: int | None = None
    num_parallel: int = 0
    max_loaded_models: int = 0


NOTHING_ASSUMED = Assumed()


class Movable(NamedTuple):
    """A request that waits for an answer, since a time of the monotonic clock, and should have one after
    `patience` seconds. It can be sent to another server, as long as `can_move` says so.
    """

    since: float
    patience: float
    can_move: Callable[[], bool]


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
        self.silence = Silence()
        # When one of the other servers has answered last.
        self.fellows_answered_at: Callable[[], float] = never
        self.loader = Loader(name, upstream, load_timeout, self.residents, self._load_ended)
        self._assumed = assumed
        self._movable: dict[asyncio.Timeout, Movable] = {}

    @property
    def available(self) -> bool:
        """Whether requests should be sent here."""
        return self.up and self.breaker.passes and not self.is_quarantined

    @property
    def is_quarantined(self) -> bool:
        """Whether it answers nothing while others do."""
        return (since := self.silence.since) is not None and self.fellows_answered_at() > since

    @property
    def is_waited_for(self) -> bool:
        """Whether requests wait for an answer, or for a load."""
        return bool(self._movable)

    @property
    def pause(self) -> float:
        return min(super().pause, self.breaker.half_open_in or math.inf)

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
        self,
        method: str,
        path: str,
        body: bytes,
        headers: Mapping[str, str],
        model: str | None,
        patience: float = SILENT_SECONDS,
    ) -> UpstreamAnswer:
        """As `Upstream.ask`; `model` is the model that answers, if any, and `patience` the time in seconds
        after which it should. Read the answer within `reading`.
        """
        request = self.silence.asked(patience)
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
            if self.is_quarantined:
                # Its clients have less patience, and without them nothing would show it any more.
                self.breaker.open()
                self.on_change()
            self.silence.left(request)
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
            self.silence.ended(request)
        self._succeeded()
        if name in self.models:
            is_new = name not in self.residents
            self.residents.answered(name)
            if is_new:
                self.on_change()
        return answer

    async def unless_lost(
        self, answering: Awaitable[UpstreamAnswer], patience: float, can_move: Callable[[], bool]
    ) -> UpstreamAnswer:
        """The answer to a request that waits for this server. Raises UpstreamTimeout if the server stops
        responding or answering meanwhile, and the request can be sent to another one.
        """
        try:
            async with asyncio.timeout(None) as limit:
                self._movable[limit] = Movable(time.monotonic(), patience, can_move)
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
        if isinstance(error, UpstreamUnreachable):
            self.up = False
        if not isinstance(error, UpstreamBusy):
            self.breaker.failed()
        self._poll_soon.set()
        self.on_change()

    def follow(self, openings: int) -> None:
        """Another gateway's breaker for this server has opened or closed, as `Breaker.follow`."""
        self.breaker.follow(openings)
        self._poll_soon.set()
        self.on_change()

    def _load_ended(self, failure: GatewayError | None) -> None:
        if isinstance(failure, UpstreamFailed):
            self.failed(failure)
        self._poll_soon.set()
        self.on_change()

    def _succeeded(self) -> None:
        self.silence.answered()
        was_closed = self.breaker.is_closed
        self.breaker.succeeded()
        if not was_closed:
            self.on_change()

    def responded(self) -> None:
        """It may answer polls and nothing else: then send those elsewhere who have waited long."""
        self.breaker.polled()
        if self.is_quarantined:
            now = time.monotonic()
            waiting = [
                limit for limit, request in self._movable.items() if now - request.since > request.patience
            ]
            if self._move(waiting):
                self.silence.noticed()
                self.breaker.open()

    def did_not_respond(self) -> None:
        """Send requests that wait for this server to others."""
        self._move([*self._movable])

    def _move(self, limits: Sequence[asyncio.Timeout]) -> bool:
        """Whether any of these requests can be sent to another server, which is then done."""
        moving = [limit for limit in limits if self._movable[limit].can_move()]
        for limit in moving:
            limit.reschedule(asyncio.get_running_loop().time())
        return bool(moving)

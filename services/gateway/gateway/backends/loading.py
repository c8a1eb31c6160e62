"""Loads models into a server's memory, on behalf of no single request.

Ollama aborts a load when the client that caused it disconnects. A client whose timeout is shorter than the
load would never get its model loaded, however often it tried again.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import closing
from functools import partial
from typing import NamedTuple, Protocol

import structlog

from ..ask.affinity import LoadOptions
from ..ask.ask import Ask
from ..ask.waiting import Status, Waiting
from ..errors import GatewayError, UpstreamRefused, UpstreamTimeout, UpstreamUnreachable
from ..names import requested_name
from ..telemetry.metrics import MODEL_LOAD_SECONDS, child
from .client import Upstream
from .residents import Residents

# A client that waits is told again after this time.
STATUS_SECONDS = 5

# A server answers sooner if the model is in memory, and needs longer to load even the smallest one.
LEAST_SECONDS = 0.1

# Failures that are remembered.
MAX_FAILURES = 100

# The model's canonical name, and the options.
Key = tuple[str, LoadOptions]


class Loads(Protocol):
    """Which of several gateways loads a model."""

    async def once(
        self, server: str, key: Key, since: float, load: Callable[[], Awaitable[float | None]]
    ) -> float | None:
        """What `load` returns or raises, at this gateway or at the one that is first. Also raises a failure
        after `since`, a time of the event loop.
        """


class OwnLoads:
    """Those of a gateway that knows no other."""

    async def once(
        self, server: str, key: Key, since: float, load: Callable[[], Awaitable[float | None]]
    ) -> float | None:
        return await load()


OWN_LOADS = OwnLoads()


class Failure(NamedTuple):
    """`at` is the time of the event loop."""

    at: float
    error: GatewayError


class Load:
    """One load that is running. `expected` is how many seconds it may take, None if that is not known."""

    task: asyncio.Task[GatewayError | None]

    def __init__(self, model: str, expected: float | None) -> None:
        self._model = model
        self._expected = expected
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()
        self._said_at = -STATUS_SECONDS
        self._said: Status | None = None

    @property
    def elapsed(self) -> float:
        return self._loop.time() - self._began

    def status(self) -> Status | None:
        """The same object until there is something new."""
        elapsed = int(self.elapsed)
        if elapsed - self._said_at >= STATUS_SECONDS:
            fields: dict[str, object] = {"model": self._model, "elapsed_seconds": elapsed}
            if self._expected is not None:
                fields["eta_seconds"] = max(0, round(self._expected - elapsed))
            self._said_at, self._said = elapsed, Status("loading", fields)
        return self._said


class Loader:
    """Loads models on one server, each once for all who wait for it. `timeout` is the longest time for a
    load, in seconds, None for no limit. `ended` is called after each, with its failure if it has failed.

    `seconds` are those of the last load of each model. `loads` decides whether it is this gateway that loads.
    """

    def __init__(
        self,
        name: str,
        upstream: Upstream,
        timeout: float | None,
        residents: Residents,
        ended: Callable[[GatewayError | None], None],
    ) -> None:
        self.seconds: dict[str, float] = {}
        self.loads: Loads = OWN_LOADS
        self._name = name
        self._upstream = upstream
        self._timeout = timeout
        self._residents = residents
        self._ended = ended
        self._loads: dict[Key, Load] = {}
        self._failures: dict[Key, Failure] = {}

    async def load_for(self, ask: Ask, waiting: Waiting, since: float) -> None:
        """Load the model of a request, which waits for it. Raises GatewayError, as `load`."""
        assert ask.model
        loop = asyncio.get_running_loop()
        began = loop.time()
        waiting.waits_for(partial(self.status, ask.model, ask.load_options))
        embeds = ask.route.operation == "embeddings"
        try:
            await self.load(ask.model, ask.load_options, embeds, since)
        finally:
            waiting.loaded(self._name, loop.time() - began)

    async def load(self, model: str, options: LoadOptions, embeds: bool, since: float) -> None:
        """Make the server load a model, or wait for the end of such a load that is running.

        Also returns if the server refuses: the request itself will get the same answer. Raises GatewayError,
        a new one each time, if the load fails, or if one has failed after `since`, a time of the event loop:
        requests that were waiting at that time do not cause another attempt.
        """
        key = requested_name(model), options
        failed = self._failures.get(key)
        if failed and since < failed.at:
            raise _copy(failed.error)
        if key not in self._loads:
            self._begin(key, model, embeds, since)
        task = self._loads[key].task
        await asyncio.wait({task})
        if task.cancelled():
            raise UpstreamUnreachable("the model server is no longer used")
        if error := task.result():
            raise _copy(error)

    def status(self, model: str, options: LoadOptions) -> Status | None:
        """What a client that waits for the load is told; None if none is running."""
        load = self._loads.get((requested_name(model), options))
        return load.status() if load else None

    async def aclose(self) -> None:
        tasks = [load.task for load in self._loads.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _begin(self, key: Key, model: str, embeds: bool, since: float) -> None:
        load = self._loads[key] = Load(key[0], self.seconds.get(key[0]))
        load.task = asyncio.create_task(self._run(key, model, embeds, since))

    async def _run(self, key: Key, model: str, embeds: bool, since: float) -> GatewayError | None:
        """Returns the failure: it may be that nobody is left to wait for it."""
        failure: GatewayError | None = None
        try:
            seconds = await self.loads.once(self._name, key, since, partial(self._load, key, model, embeds))
            if seconds is not None:
                self._loaded(key, seconds)
        except GatewayError as error:
            failure = _copy(error)
        finally:
            del self._loads[key]
            if failure:
                self._remember(key, failure)
            self._ended(failure)
        return failure

    async def _load(self, key: Key, model: str, embeds: bool) -> float | None:
        """The seconds it takes, None if the server refuses. Raises GatewayError."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            async with asyncio.timeout(self._timeout):
                await self._ask(model, key[1], embeds)
        except TimeoutError:
            message = f"the model server did not load the model within {self._timeout:g} s"
            raise UpstreamTimeout(message) from None
        except UpstreamRefused:
            return None
        seconds = loop.time() - began
        if seconds >= LEAST_SECONDS:
            child(MODEL_LOAD_SECONDS, self._name, key[0]).observe(seconds)
        return seconds

    def _remember(self, key: Key, failure: GatewayError) -> None:
        structlog.get_logger().warning("load_failed", backend=self._name, model=key[0], error=failure.message)
        self._failures.pop(key, None)  # so that it is the last one
        self._failures[key] = Failure(asyncio.get_running_loop().time(), failure)
        if len(self._failures) > MAX_FAILURES:
            del self._failures[next(iter(self._failures))]

    async def _ask(self, model: str, options: LoadOptions, embeds: bool) -> None:
        """As https://docs.ollama.com/faq says; embedding models refuse the other route."""
        fields: dict[str, object] = (
            {"model": model, "input": []} if embeds else {"model": model, "stream": False}
        )
        if options:
            fields["options"] = {name: json.loads(value) for name, value in sorted(options)}
        body = json.dumps(fields).encode()
        # On a new connection: if the server dies of the load, it is not tried again.
        headers = {"content-type": "application/json"}
        path = "/api/embed" if embeds else "/api/generate"
        with closing(await self._upstream.ask_once("POST", path, body, headers)) as answer:
            await answer.stream_into(lambda _: None)

    def _loaded(self, key: Key, seconds: float) -> None:
        name, options = key
        self._residents.loaded(name, options)
        self._failures.pop(key, None)
        if seconds >= LEAST_SECONDS:
            self._residents.doubt_others(name)
            self.seconds[name] = seconds


def _copy(error: GatewayError) -> GatewayError:
    """Each waiter raises its own: a traceback refers to the frames of whoever raises it."""
    copy = type(error)(error.message)
    copy.upstream = error.upstream
    return copy

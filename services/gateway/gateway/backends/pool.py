"""All model servers: which there are, and which of them can answer."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from functools import partial

from ..access.allow_list import not_found
from ..access.roles import AUDITED
from ..ask.ask import Ask
from ..ask.waiting import Waiting
from ..errors import ModelNotFound, UpstreamFailed
from ..names import requested_name
from ..servers import Server
from ..settings import Settings
from ..shared_url import find_shared_url
from ..telemetry.metrics import FAILOVERS, child
from .backend import Assumed, Backend
from .breaker import untold
from .catalogue import Catalogue
from .choice import Offer
from .client import Upstream, UpstreamAnswer
from .discovery import LOOKUP_SECONDS, named, named_by_address
from .group import Group
from .loading import OWN_LOADS, Loads
from .managing import Answer, managed
from .polling import nothing
from .silence import patience

# Far more models than are in use at the same time.
MOST_OFFERS = 1000


class Pool(Catalogue):
    """Created inside the event loop; `backends` changes with the addresses of the servers' names."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self._settings = settings
        slots = None if settings.slots == "auto" else settings.slots
        self._assumed = Assumed(slots, settings.ollama_num_parallel, settings.ollama_max_loaded_models)
        is_shared = find_shared_url(settings.shared_url, settings.shared_url_file)
        naming = named_by_address if is_shared else named
        self._groups = [Group(server, self._backend_of, naming) for server in settings.servers]
        self._watches: dict[Backend, asyncio.Task[None]] = {}
        self._offers: dict[str, list[Offer]] = {}
        # Called when requests that wait may be able to begin.
        self.when_changed: Callable[[], None] = nothing
        self._loads: Loads = OWN_LOADS
        self._told: Callable[[str, int], None] | None = None
        self._update()

    def share(self, loads: Loads, told: Callable[[str, int], None]) -> None:
        """Load models together with other gateways, and call `told` with a server's name and what
        `Breaker.told` is called with.
        """
        self._loads, self._told = loads, told
        self._update()

    def _update(self) -> None:
        self.backends = tuple(backend for group in self._groups for backend in group.backends)
        self._by_name = {backend.name: backend for backend in self.backends}
        for backend in self.backends:
            backend.has_fellows = len(self.backends) > 1
            backend.on_change = self._changed
            backend.fellows_answered_at = self._answered_at
            backend.loader.loads = self._loads
            backend.breaker.told = partial(self._told, backend.name) if self._told else untold
        self._changed()

    def _changed(self) -> None:
        self._offers.clear()
        self.when_changed()

    def _backend_of(self, server: Server, name: str) -> Backend:
        settings = self._settings
        upstream = Upstream(server.url, settings.connect_timeout)
        return Backend(
            name,
            upstream,
            settings.default_model,
            settings.model_names,
            server.weight,
            self._assumed,
            settings.load_timeout,
        )

    def servers(self, model: str) -> Sequence[Backend]:
        """The servers to choose from for `model`, a canonical name: those that can be asked now; if there are
        none, all that have it, whose error is better than none.
        """
        holders = self.holders(model)
        if len(holders) == 1:
            return holders
        return [backend for backend in holders if backend.available] or holders

    def offers(self, model: str) -> Sequence[Offer]:
        """The same, with what they can do. Kept until anything changes: with many servers it takes long."""
        found = self._offers.get(model)
        if found is None:
            if len(self._offers) >= MOST_OFFERS:
                self._offers.clear()
            found = self._offers[model] = [backend.offer(model) for backend in self.servers(model)]
        return found

    def _answered_at(self) -> float:
        """When a server has answered last. One that is silent has not answered since then."""
        return max(backend.silence.answered_at for backend in self.backends)

    def backend(self, name: str) -> Backend | None:
        return self._by_name.get(name)

    async def ask(
        self, backend: Backend, ask: Ask, waiting: Waiting, can_move: Callable[[], bool]
    ) -> UpstreamAnswer:
        """Send a request once its model is loaded; `can_move` is whether another server can answer it if this
        one does not. Raises GatewayError, as `Backend.ask`, `Loader.load`.
        """
        if not backend.has_fellows:
            return await self._ask(backend, ask, waiting, waiting.accepted_at)
        # What has failed for others need not fail again: the breaker bounds the attempts.
        since = asyncio.get_running_loop().time() if can_move() else waiting.accepted_at
        answering = self._ask(backend, ask, waiting, since)
        return await backend.unless_lost(answering, patience(ask), can_move)

    async def _ask(self, backend: Backend, ask: Ask, waiting: Waiting, since: float | None) -> UpstreamAnswer:
        """`since` is as for `Loader.load`."""
        assert isinstance(ask.body, bytes)
        model = ask.model if ask.route.operation else None
        if model:
            if backend.has_fellows:
                await self._check_is_local(backend, model, ask.route.not_found)
            backend.count_reloads(model, ask.load_options)
            if not (backend.ready(model, ask.load_options) or ask.unloads):
                assert since is not None
                await backend.loader.load_for(ask, waiting, since)
            backend.expect(model, ask.load_options, ask.keep_alive)
        waiting.asked(backend.name)
        # The route's method, not the client's, which may be HEAD.
        method = ask.route.method
        return await backend.ask(method, ask.path, ask.body, ask.headers, model, patience(ask))

    async def _check_is_local(self, backend: Backend, model: str, words: str) -> None:
        """That some server has the model itself has been checked before. Raises ModelNotFound if this one
        would forward the request to another host, or may have got the model as a reference to one since then.
        """
        if self._settings.cloud_models == "on" or requested_name(model) in backend.local:
            return
        if await backend.locate(model) != "local":
            raise not_found(model, words)

    def answer(self, ask: Ask, waiting: Waiting) -> AbstractAsyncContextManager[Answer]:
        """The answer to a request that takes no slot. Raises GatewayError, as `Upstream.ask`."""
        if isinstance(ask.body, bytes) and ask.route.kind not in AUDITED:
            return self._any_answer(ask, waiting)
        return managed(self._groups, ask, waiting, self._settings)

    @asynccontextmanager
    async def _any_answer(self, ask: Ask, waiting: Waiting) -> AsyncIterator[UpstreamAnswer]:
        """From the first server that answers, and that still has the model, if it is about one."""
        *others, last = self.servers(requested_name(ask.model or ""))
        for backend in (*others, last):
            try:
                began = await self.ask(backend, ask, waiting, partial(bool, backend is not last))
            except (UpstreamFailed, ModelNotFound) as failure:
                if backend is last:
                    raise
                if isinstance(failure, UpstreamFailed) or backend.has(ask.model or ""):
                    child(FAILOVERS, backend.name, failure.code).inc()
                continue
            async with backend.reading(began) as answer:
                yield answer
            return

    async def get_json(self, path: str, seconds: float) -> object:
        """GET a JSON document from the first model server that answers. Raises GatewayError."""
        *others, last = self.servers("")
        for backend in others:
            with suppress(UpstreamFailed):
                return await backend.upstream.get_json(path, seconds)
        return await last.upstream.get_json(path, seconds)

    async def watch(self) -> None:
        """Poll the servers, and look for others, until cancelled."""
        try:
            async with asyncio.TaskGroup() as tasks:
                self._watch_all(tasks)
                groups = [group for group in self._groups if group.is_looked_up]
                while groups:
                    await asyncio.gather(*(group.look_up() for group in groups))
                    self._watch_all(tasks)
                    await asyncio.sleep(LOOKUP_SECONDS)
        finally:
            self._watches.clear()

    def _watch_all(self, tasks: asyncio.TaskGroup) -> None:
        self._update()
        for backend in self._watches.keys() - set(self.backends):
            # Its requests may end well; if it stops responding, they go elsewhere.
            if not backend.is_waited_for:
                self._watches.pop(backend).cancel()
        for backend in self.backends:
            if backend not in self._watches:
                self._watches[backend] = tasks.create_task(backend.watch())

    async def wait_polled(self, seconds: float) -> None:
        """Wait until every server has been polled once, at most `seconds`."""
        polled = (backend.polled.wait() for backend in self.backends)
        try:
            await asyncio.wait_for(asyncio.gather(*polled), seconds)
        except TimeoutError:
            return

    async def aclose(self) -> None:
        for backend in self.backends:
            await backend.loader.aclose()
            await backend.upstream.aclose()

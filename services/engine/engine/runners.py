"""Which models are loaded, and who may use them: loading, eviction, keep-alive, slots."""

import asyncio
import time
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress

import structlog

from .catalogue import Model
from .child import Child
from .errors import BusyError, RunnerDiedError
from .llama import Llama
from .settings import Settings
from .slots import Slots

# With a keep-alive of 0 a model would go before those who waited for it could take it.
CLAIM_SECONDS = 1.0

# Longer than the second after which llama.cpp looks whether an embedding's client is still there.
DRAIN_SECONDS = 1.2

log = structlog.get_logger()


class Runner:
    """A loaded model: its process, its slots, its users."""

    def __init__(
        self,
        model: Model,
        num_ctx: int,
        settings: Settings,
        child: Child,
    ) -> None:
        self.model = model
        self.num_ctx = num_ctx
        self.child = child
        self.llama = Llama(child.address)
        self.slots = Slots(settings.slots)
        self.memory = model.memory(num_ctx * settings.slots)
        self.keep_alive = settings.keep_alive
        self.last_used = time.time()
        self.expiry: asyncio.TimerHandle | None = None
        self.users = 0
        self.idle = asyncio.Event()
        self.leaving = False
        """Chosen to make room: takes no new requests."""

    @property
    def key(self) -> str:
        return self.model.name.key

    @property
    def expires_at(self) -> float:
        return self.last_used + self.keep_alive

    def serves(self, model: Model, num_ctx: int) -> bool:
        return not self.leaving and self.model == model and self.num_ctx == num_ctx


class Runners:
    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._runners: dict[str, Runner] = {}
        self._turn = asyncio.Lock()
        self._loading: asyncio.Task[Runner] | None = None
        self._watches: set[asyncio.Task[None]] = set()
        self._stops: set[asyncio.Task[None]] = set()
        self._drains: set[asyncio.Task[None]] = set()
        self.waiting = 0

    @property
    def loaded(self) -> list[Runner]:
        """The one that stays longest first."""
        return sorted(self._runners.values(), key=lambda runner: runner.expires_at, reverse=True)

    @asynccontextmanager
    async def lease(
        self, model: Model, num_ctx: int | None, keep_alive: float | None
    ) -> AsyncIterator[Runner]:
        """A loaded runner that stays loaded within. The context is at most what the model knows."""
        runner = await self._claim(model, min(num_ctx or self._settings.num_ctx, model.context_length))
        try:
            if keep_alive is not None:
                runner.keep_alive = keep_alive
            yield runner
        except RunnerDiedError:
            # Whatever is left of the process is of no use, even if it has not ended yet.
            self._died(runner)
            raise
        finally:
            runner.users -= 1
            if not runner.users:
                self._rest(runner, runner.keep_alive)

    @asynccontextmanager
    async def slot(self, runner: Runner) -> AsyncIterator[None]:
        """The right to one of the runner's slots; first come, first served."""
        await self._acquire(runner, 1)
        try:
            yield
        finally:
            runner.slots.release(1)

    @asynccontextmanager
    async def all_slots(self, runner: Runner) -> AsyncIterator[None]:
        """The right to the whole runner, for embeddings.

        llama.cpp never embeds and generates in one step: an embedding would wait until there happens
        to be no answer, and an answer until the embedding ends. So they take turns, in their order.
        """
        await self._acquire(runner, runner.slots.count)
        try:
            yield
        except asyncio.CancelledError:
            _keep(self._drains, self._drain(runner))
            raise
        except BaseException:
            runner.slots.release(runner.slots.count)
            raise
        runner.slots.release(runner.slots.count)

    def unload(self, model: Model) -> None:
        """As soon as nobody uses it."""
        if runner := self._runners.get(model.name.key):
            runner.keep_alive = 0.0
            if not runner.users:
                self._stop(runner)

    async def aclose(self) -> None:
        for drain in self._drains:
            drain.cancel()
        if self._loading:
            self._loading.cancel()
            await asyncio.wait([self._loading])
        for runner in self.loaded:
            self._stop(runner)
        await asyncio.gather(*self._stops, *self._watches)

    @contextmanager
    def _queued(self) -> Iterator[None]:
        if self.waiting >= self._settings.max_queue:
            raise BusyError
        self.waiting += 1
        try:
            yield
        finally:
            self.waiting -= 1

    async def _acquire(self, runner: Runner, count: int) -> None:
        if runner.slots.would_wait(count):
            with self._queued():
                await runner.slots.acquire(count)
        else:
            await runner.slots.acquire(count)

    async def _drain(self, runner: Runner) -> None:
        """Gives the slots back when llama.cpp has let go of what a client has left.

        Any result makes its second begin anew, so until then nothing else may run, and we ask seldom.
        """
        with suppress(RunnerDiedError):
            while self._runners.get(runner.key) is runner:
                if not await runner.llama.busy_slots():
                    break
                await asyncio.sleep(DRAIN_SECONDS)
        runner.slots.release(runner.slots.count)

    async def _claim(self, model: Model, num_ctx: int) -> Runner:
        runner = self._find(model, num_ctx)
        if runner is None:
            # One load at a time, in the order of arrival. Otherwise a request for another model or
            # context could wait for ever behind a stream of requests for the loaded one.
            with self._queued():
                async with self._turn:
                    if self._loading:
                        await asyncio.wait([self._loading])
                    runner = self._find(model, num_ctx) or await self._load(model, num_ctx)
        runner.users += 1
        runner.last_used = time.time()
        runner.idle.clear()
        if runner.expiry:
            runner.expiry.cancel()
        return runner

    def _find(self, model: Model, num_ctx: int) -> Runner | None:
        runner = self._runners.get(model.name.key)
        return runner if runner and runner.serves(model, num_ctx) else None

    def _rest(self, runner: Runner, seconds: float) -> None:
        runner.last_used = time.time()
        runner.idle.set()
        if self._runners.get(runner.key) is runner:
            runner.expiry = asyncio.get_running_loop().call_later(seconds, self._stop, runner)

    async def _load(self, model: Model, num_ctx: int) -> Runner:
        await self._make_room(model)
        # The load belongs to nobody: whoever asked for it may leave, and the others still get it.
        self._loading = asyncio.create_task(self._start(model, num_ctx))
        self._loading.add_done_callback(self._loaded)
        return await asyncio.shield(self._loading)

    async def _make_room(self, model: Model) -> None:
        while True:
            victim = self._runners.get(model.name.key)
            if victim is None and len(self._runners) >= self._settings.max_loaded_models:
                victim = min(self._runners.values(), key=lambda runner: (runner.users, runner.last_used))
            if victim is None:
                break
            victim.leaving = True
            try:
                await victim.idle.wait()
                self._stop(victim)
            finally:
                victim.leaving = False
        # Memory may not be enough for the old and the new one at once.
        if self._stops:
            await asyncio.wait(self._stops)

    async def _start(self, model: Model, num_ctx: int) -> Runner:
        began = time.monotonic()
        log.info("model_loading", model=model.name.short, num_ctx=num_ctx)
        settings = self._settings
        options = {
            "model": model.path,
            "num-ctx": num_ctx,
            "slots": settings.slots,
            "batch": model.batch(settings.batch, num_ctx),
            "pooling": model.pooling,
            "threads": settings.threads,
        }
        child = await Child.start(options)
        log.info("model_loaded", model=model.name.short, num_ctx=num_ctx, seconds=time.monotonic() - began)
        return Runner(model, num_ctx, settings, child)

    def _loaded(self, loading: asyncio.Task[Runner]) -> None:
        self._loading = None
        if loading.cancelled():
            return
        if error := loading.exception():
            log.error("model_load_failed", error=str(error))
            return
        runner = loading.result()
        self._runners[runner.key] = runner
        _keep(self._watches, self._watch(runner))
        self._rest(runner, max(runner.keep_alive, CLAIM_SECONDS))

    async def _watch(self, runner: Runner) -> None:
        await runner.child.ended()
        self._died(runner)

    def _died(self, runner: Runner) -> None:
        if self._runners.get(runner.key) is runner:
            child = runner.child
            log.error(
                "runner_died",
                model=runner.model.name.short,
                status=child.status,
                last_words=child.last_words,
            )
            self._stop(runner)

    def _stop(self, runner: Runner) -> None:
        if self._runners.get(runner.key) is not runner:
            return
        del self._runners[runner.key]
        if runner.expiry:
            runner.expiry.cancel()
        _keep(self._stops, _end(runner))


async def _end(runner: Runner) -> None:
    await runner.child.stop()
    await runner.llama.aclose()
    log.info("model_unloaded", model=runner.model.name.short)


def _keep(tasks: set[asyncio.Task[None]], work: Coroutine[None, None, None]) -> None:
    """The event loop itself holds tasks only weakly."""
    task = asyncio.create_task(work)
    tasks.add(task)
    task.add_done_callback(tasks.discard)

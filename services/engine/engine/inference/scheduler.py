"""Which models are loaded: loading on demand, eviction, keep-alive, reaction to crashes."""

import asyncio
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager

import structlog

from ..errors import RunnerDiedError
from ..models.model import Model
from ..settings import Settings
from .backlog import Backlog
from .process import LlamaProcess
from .runner import Runner

# With a keep-alive of 0 a model would be unloaded before the requests that waited for it could use it.
CLAIM_SECONDS = 1.0

log = structlog.get_logger()


class Scheduler:
    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._runners: dict[str, Runner] = {}
        self._backlog = Backlog(settings.max_queue)
        self._load_lock = asyncio.Lock()
        self._loading: asyncio.Task[Runner] | None = None
        self._watches: set[asyncio.Task[None]] = set()
        self._stops: set[asyncio.Task[None]] = set()

    @property
    def loaded(self) -> list[Runner]:
        """The runner that expires last comes first."""
        return sorted(self._runners.values(), key=lambda runner: runner.expires_at, reverse=True)

    @property
    def waiting(self) -> int:
        """Requests that wait for a model or a slot."""
        return self._backlog.waiting

    @asynccontextmanager
    async def lease(
        self, model: Model, num_ctx: int | None, keep_alive: float | None
    ) -> AsyncIterator[Runner]:
        """A runner that stays loaded for the duration of the lease; the model is loaded if it must be.

        The context is capped at what the model was trained for. Raises BusyError if too many requests wait,
        LoadError if llama.cpp can't load the model.
        """
        runner = await self._claim(model, min(num_ctx or self._settings.num_ctx, model.context_length))
        try:
            if keep_alive is not None:
                runner.keep_alive = keep_alive
            yield runner
        except RunnerDiedError:
            # Its process is of no further use, even if it has not ended yet.
            self._died(runner)
            raise
        finally:
            runner.users -= 1
            if not runner.users:
                self._set_idle(runner, runner.keep_alive)

    def unload(self, model: Model) -> None:
        """Unloads the model now, or when its last request ends."""
        if runner := self._runners.get(model.name.key):
            runner.keep_alive = 0.0
            if not runner.users:
                self._stop(runner)

    async def aclose(self) -> None:
        if self._loading:
            self._loading.cancel()
            await asyncio.wait([self._loading])
        for runner in self.loaded:
            self._stop(runner)
        await asyncio.gather(*self._stops, *self._watches)

    async def _claim(self, model: Model, num_ctx: int) -> Runner:
        runner = self._find(model, num_ctx)
        if runner is None:
            # One load at a time, in order of arrival. Otherwise a request for another model or context could
            # wait forever behind a stream of requests for the loaded one.
            with self._backlog.entry():
                async with self._load_lock:
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

    def _set_idle(self, runner: Runner, seconds: float) -> None:
        runner.last_used = time.time()
        runner.idle.set()
        if self._runners.get(runner.key) is runner:
            runner.expiry = asyncio.get_running_loop().call_later(seconds, self._stop, runner)

    async def _load(self, model: Model, num_ctx: int) -> Runner:
        await self._make_room(model)
        # Not part of any request: whoever asked for the load may disconnect, and others still use the model.
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
            victim.evicting = True
            try:
                await victim.idle.wait()
                self._stop(victim)
            finally:
                victim.evicting = False
        # Memory may not be enough for the old model and the new one at once.
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
        process = await LlamaProcess.start(options)
        log.info("model_loaded", model=model.name.short, num_ctx=num_ctx, seconds=time.monotonic() - began)
        return Runner(model, num_ctx, settings, process, self._backlog)

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
        self._set_idle(runner, max(runner.keep_alive, CLAIM_SECONDS))

    async def _watch(self, runner: Runner) -> None:
        await runner.process.wait()
        self._died(runner)

    def _died(self, runner: Runner) -> None:
        if self._runners.get(runner.key) is runner:
            log.error(
                "runner_died",
                model=runner.model.name.short,
                status=runner.process.exit_status,
                last_output=runner.process.last_output,
            )
            self._stop(runner)

    def _stop(self, runner: Runner) -> None:
        if self._runners.get(runner.key) is not runner:
            return
        del self._runners[runner.key]
        if runner.expiry:
            runner.expiry.cancel()
        _keep(self._stops, _unload(runner))


async def _unload(runner: Runner) -> None:
    await runner.stop()
    log.info("model_unloaded", model=runner.model.name.short)


def _keep(tasks: set[asyncio.Task[None]], work: Coroutine[None, None, None]) -> None:
    """Starts a task and holds it until it ends; the event loop holds only weak references."""
    task = asyncio.create_task(work)
    tasks.add(task)
    task.add_done_callback(tasks.discard)

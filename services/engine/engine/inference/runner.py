"""A loaded model: its process, its slots and the requests that use it."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from ..errors import RunnerDiedError
from ..models.model import Model
from ..settings import Settings
from .backlog import Backlog
from .client import LlamaClient
from .process import LlamaProcess
from .slots import Slots

# Longer than the second after which llama.cpp checks whether an embedding's client is still connected.
DRAIN_SECONDS = 1.2


class Runner:
    def __init__(
        self, model: Model, num_ctx: int, settings: Settings, process: LlamaProcess, backlog: Backlog
    ) -> None:
        self.model = model
        self.num_ctx = num_ctx
        self.process = process
        self.llama = LlamaClient(process.address)
        self.memory = model.memory(num_ctx * settings.slots)
        self.keep_alive = settings.keep_alive
        self.last_used = time.time()
        self.expiry: asyncio.TimerHandle | None = None
        self.users = 0
        self.idle = asyncio.Event()
        self.evicting = False
        """Chosen to make room: accepts no new requests."""
        self._slots = Slots(settings.slots)
        self._backlog = backlog
        self._drain: asyncio.Task[None] | None = None

    @property
    def key(self) -> str:
        return self.model.name.key

    @property
    def expires_at(self) -> float:
        return self.last_used + self.keep_alive

    def serves(self, model: Model, num_ctx: int) -> bool:
        return not self.evicting and self.model == model and self.num_ctx == num_ctx

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Holds one slot; first come, first served. Raises BusyError if too many requests wait."""
        await self._acquire(1)
        try:
            yield
        finally:
            self._slots.release(1)

    @asynccontextmanager
    async def all_slots(self) -> AsyncIterator[None]:
        """Holds all slots, for embeddings.

        llama.cpp never embeds and generates in the same step: an embedding would wait until no answer happens
        to be running, and an answer until the embedding ends. Here they take turns in order of arrival.
        """
        await self._acquire(self._slots.count)
        try:
            yield
        except asyncio.CancelledError:
            self._drain = asyncio.create_task(self._drained())
            self._drain.add_done_callback(lambda _: self._slots.release(self._slots.count))
            raise
        except BaseException:
            self._slots.release(self._slots.count)
            raise
        self._slots.release(self._slots.count)

    async def stop(self) -> None:
        if self._drain:
            self._drain.cancel()
        await self.process.stop()
        await self.llama.aclose()

    async def _acquire(self, count: int) -> None:
        if self._slots.would_wait(count):
            with self._backlog.entry():
                await self._slots.acquire(count)
        else:
            await self._slots.acquire(count)

    async def _drained(self) -> None:
        """Returns once llama.cpp has dropped the embedding of a client that disconnected.

        Each result restarts llama.cpp's one-second check, so nothing else may run meanwhile, and /slots is
        polled less often than that.
        """
        with suppress(RunnerDiedError):
            while True:
                if not await self.llama.busy_slots():
                    return
                await asyncio.sleep(DRAIN_SECONDS)

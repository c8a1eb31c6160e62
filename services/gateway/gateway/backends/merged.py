"""The progress of one request at several servers as one answer."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from ..dialects.merged_progress import MergedProgress
from ..dialects.splitter import LINE, Splitter
from ..errors import GatewayError, UpstreamTruncated
from .backend import Backend
from .change import Change, Groups, combined, outcome_of
from .client import UpstreamAnswer
from .response_body import Sink


class Merged:
    """The progress of all servers as one answer: see MergedProgress.

    A server that fails does not stop the others; after their end the answer fails and names it.
    """

    status = 200
    media_type = "application/x-ndjson"

    def __init__(self, groups: Groups, change: Change, max_line_bytes: int) -> None:
        self._groups = groups
        self._change = change
        self._max_line_bytes = max_line_bytes
        self._progress = MergedProgress(backend.name for group in groups for backend in group)
        self._failures: dict[str, GatewayError] = {}
        self._running = len(groups)
        self._began = self._stopped = False
        self._changed = asyncio.Event()

    @asynccontextmanager
    async def answers(self) -> AsyncIterator["Merged"]:
        """This answer, once a server has begun its own. Raises GatewayError if all fail before that."""
        tasks = [asyncio.create_task(self._follow(group)) for group in self._groups]
        try:
            while self._running and not self._began:
                await self._wait()
            if not self._began:
                raise combined(self._groups, self._failures)
            yield self
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def stream_into(self, sink: Sink) -> None:
        """As `Body.stream_into`: a slow client gets less, but the latest progress. Raises GatewayError."""
        while not self._stopped:
            if news := self._progress.news():
                if awaited := sink(news):
                    await awaited
            elif self._running:
                await self._wait()
            elif self._failures:
                raise combined(self._groups, self._failures)
            else:
                return

    def stop(self) -> None:
        self._stopped = True
        self._changed.set()

    def discard(self) -> None:
        self.stop()

    async def _wait(self) -> None:
        await self._changed.wait()
        self._changed.clear()

    async def _follow(self, group: Sequence[Backend]) -> None:
        for backend in group:
            failure = await outcome_of(backend, self._follow_one(backend))
            if failure:
                self._failures[backend.name] = failure
                self._progress.failed(backend.name)
            else:
                self._progress.succeeded(backend.name)
            self._changed.set()
        self._running -= 1

    async def _follow_one(self, backend: Backend) -> None:
        splitter = Splitter(LINE, self._max_line_bytes)
        succeeded = False

        def opened(_: UpstreamAnswer) -> None:
            self._began = True
            self._changed.set()

        def take(data: bytes) -> None:
            nonlocal succeeded
            for line in splitter.feed(data):
                succeeded |= self._progress.take(backend.name, line)
            self._changed.set()

        await self._change.make(backend, opened, take)
        take(LINE)
        if not succeeded:
            raise UpstreamTruncated("upstream closed the stream before the answer was complete")

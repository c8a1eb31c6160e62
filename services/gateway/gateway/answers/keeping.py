"""The `Destination` of an answer that is kept: its relay writes through this into the log."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from ..dialects.api import Api
from ..dialects.refusal import Refusal
from ..dialects.stream import Stream
from ..dialects.whole import Whole
from ..errors import AnswerStopped, GatewayError
from ..telemetry.record import RequestRecord
from .kept import Kept


class Keeping:
    """Nothing here waits while the answer is kept: readers that cannot follow read from the log."""

    def __init__(self, kept: Kept, api: Api, record: RequestRecord) -> None:
        self._kept = kept
        self._api = api
        self._record = record
        self._dialect: Stream | Whole
        self._loop = asyncio.get_running_loop()
        self.headers: Sequence[tuple[bytes, bytes]] = ()
        self.direct: Kept | None = None
        self.committed = self.complete = self._waits = False
        self.last_out = self.status_at = self._loop.time()

    @property
    def delivered(self) -> bool:
        return self.complete

    @property
    def sending_since(self) -> float | None:
        """Each reader has a limit of its own, so this never begins to be long ago."""
        return self._loop.time() if self._waits else None

    def when_lost(self, abandon: Callable[[], None] | None) -> None:
        if abandon:
            self._kept.abandon = abandon

    async def left(self) -> None:
        await asyncio.Event().wait()  # it is abandoned when nobody has been reading it for too long

    def asked(self, server: str) -> None:
        self._tell(self._kept.dialect.status("answering", {"server": server}))

    async def commit(self, dialect: Stream | Whole, seconds: float) -> None:
        self.committed, self._dialect = True, dialect
        self._record.status = self._record.status or dialect.http_status
        farewell = dialect.status("not_resumable", {}) if isinstance(dialect, Stream) else b""
        self._kept.open(dialect.headers, list(self.headers), farewell)
        self._kept.write(self._kept.dialect.opening)

    async def send(self, dialect: Stream | Whole, frames: bytes, *, last: bool) -> None:
        if not self.committed:
            await self.commit(dialect, 0)
        waited = self._kept.write(frames)
        self.complete = last
        if last:
            self._kept.end()
        elif waited:
            await self.drain(waited)
        self.last_out = self._loop.time()

    def go_direct(self) -> None:
        self.direct = self._kept

    async def drain(self, drained: Awaitable[None]) -> None:
        self._waits = True
        await drained
        self._waits = False

    async def send_heartbeat(
        self, body: bytes, stopped: asyncio.Future[GatewayError], seconds: float
    ) -> None:
        if body == self._dialect.heartbeat:
            self._kept.tell(body)
        else:
            self._tell(body)
        self.last_out = self._loop.time()

    async def close(self, final: bytes, seconds: float) -> None:
        self._kept.write(final)
        self._kept.end()

    async def refuse(self, refusal: Refusal, seconds: float) -> None:
        self._record.status = refusal.status
        self._kept.refuse(replace(refusal, headers=[*refusal.headers, *self.headers]))

    def drop(self) -> None:
        """Readers are dropped one by one."""

    def finish(self) -> None:
        """The relay has ended: nobody has been there to be told how, or it was stopped in mid-answer."""
        if self._kept.ended:
            return
        failure = AnswerStopped("nobody has read the answer for too long, so it was stopped")
        request_id = self._record.request_id
        if self.committed:
            self._kept.write(self._dialect.error(failure, request_id))
            self._kept.end()
        else:
            self._kept.refuse(self._api.refusal(failure, request_id))

    def _tell(self, status: bytes) -> None:
        self._kept.status = status
        self._kept.tell(status)

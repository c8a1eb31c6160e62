"""All answers that are kept: found by their callers, bounded in memory, removed after a while."""

import asyncio
import secrets
from collections.abc import Awaitable

from ..dialects.stream import Stream
from ..errors import AnswerNotFound, AnswerStopped, Drained
from ..settings import Settings
from ..telemetry.metrics import ANSWERS_GIVEN_UP, ANSWERS_KEPT, ANSWERS_KEPT_BYTES, child
from .kept import Kept

# What an answer takes beside its events.
BASE_BYTES = 4096

ID_BYTES = 18


def new_id() -> str:
    return secrets.token_urlsafe(ID_BYTES)


class Shelf:
    """The answers of one worker, which others cannot see."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._answers: dict[str, Kept] = {}
        self._ended: dict[str, asyncio.TimerHandle] = {}  # the oldest first
        self._tasks: set[asyncio.Task[None]] = set()
        self.size = 0

    @property
    def longest(self) -> int:
        """Most seconds for which an answer waits for a reader; 0 if none is kept: with several workers,
        whoever comes back could reach another one.
        """
        return self._settings.resume_max if self._settings.workers == 1 else 0

    def begin(self, answer_id: str, dialect: Stream, owner: str, request_id: str, seconds: float) -> Kept:
        """A new answer, which waits `seconds` for a reader whenever it has none."""
        kept = Kept(answer_id, dialect, owner, request_id, seconds, self._grew)
        self._answers[kept.id] = kept
        self._count(kept, BASE_BYTES)
        self._make_room()
        return kept

    def run(self, kept: Kept, work: Awaitable[None]) -> None:
        """Run what writes the answer, beside the request that has asked for it."""
        task = asyncio.ensure_future(self._run(kept, work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def find(self, answer_id: str, dialect: type[Stream], owner: str) -> Kept:
        """Raises AnswerNotFound, for an answer of another dialect or caller too, and as `_find`."""
        kept = await self._find(answer_id, owner)
        if kept is None or kept.owner != owner or not isinstance(kept.dialect, dialect):
            minutes = self._settings.resume_keep / 60
            raise AnswerNotFound(
                "none of your answers has this id; an answer is kept "
                f"for {minutes:g} minutes after its end, or until it is deleted"
            )
        return kept

    async def stop(self, kept: Kept, reason: AnswerStopped) -> None:
        """End an answer, if it runs."""
        kept.stop(reason)

    async def delete(self, kept: Kept, reason: AnswerStopped) -> None:
        """End an answer, and forget it."""
        kept.stop(reason)
        self._remove(kept)

    def drain(self) -> None:
        """Nobody can come back any more: end what is not read, now and from now on."""
        for kept in tuple(self._answers.values()):
            kept.seconds = 0
            if not kept.is_read:
                kept.stop(Drained())

    def count(self) -> None:
        """Update the metrics."""
        child(ANSWERS_KEPT, "running").set(len(self._answers) - len(self._ended))
        child(ANSWERS_KEPT, "ended").set(len(self._ended))
        ANSWERS_KEPT_BYTES.set(self.size)

    async def aclose(self) -> None:
        """End all answers, and wait until they have."""
        self.drain()
        for kept in self._answers.values():
            kept.stop(Drained())
        if self._tasks:
            await asyncio.wait(self._tasks)
        for timer in self._ended.values():
            timer.cancel()

    def dismiss(self) -> None:
        """The grace is over: end readings that cannot go on here, of answers that go on elsewhere."""

    async def _find(self, answer_id: str, owner: str) -> Kept | None:
        """The answer, whoever asks for it; one that is elsewhere only if it is the owner's."""
        return self._answers.get(answer_id)

    async def _run(self, kept: Kept, work: Awaitable[None]) -> None:
        await work
        if kept.id in self._answers:
            # One that was refused has no events, and its id has been told to nobody.
            seconds = self._settings.resume_keep if kept.log.end else 0
            loop = asyncio.get_running_loop()
            self._ended[kept.id] = loop.call_later(seconds, self._remove, kept)

    def _remove(self, kept: Kept) -> None:
        if self._answers.pop(kept.id, None):
            if timer := self._ended.pop(kept.id, None):
                timer.cancel()
            self._count(kept, -kept.size)
            if kept.copy:
                kept.copy.remove()
            kept.forget()

    def _grew(self, kept: Kept, size: int) -> None:
        self._count(kept, size)
        if kept.size > self._settings.resume_bytes or not self._make_room():
            ANSWERS_GIVEN_UP.inc()
            self._count(kept, BASE_BYTES - kept.size)
            kept.give_up()

    def _make_room(self) -> bool:
        """Remove ended answers that nobody reads, as needed; returns whether there is room then."""
        most = self._settings.resume_total_bytes
        while self.size > most and (ended := self._oldest_unread()):
            self._remove(ended)
        return self.size <= most

    def _oldest_unread(self) -> Kept | None:
        ended = map(self._answers.__getitem__, self._ended)
        return next((kept for kept in ended if not kept.is_read), None)

    def _count(self, kept: Kept, size: int) -> None:
        kept.size += size
        self.size += size

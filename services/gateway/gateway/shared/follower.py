"""Reads an answer that another gateway makes, and fills this gateway's own copy of it."""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress

from ..answers.kept import Kept
from ..errors import GatewayError
from .answer_messages import Here, Left, Read, ToHome, pack
from .answer_stream import ENDED, FRAMES, GIVEN_UP, Entry, channel_of, entry, entry_id, keys_of
from .errors import AnswerLost, AnswerOutOfReach
from .link import Link, Unavailable

# Entries that are read at once.
MOST_ENTRIES = 64
# How often its home is told that it is read here.
TICK_SECONDS = 1.0
# How long that gateway has to say how far it is, and this one then to get there.
HERE_SECONDS = 1.0
THERE_SECONDS = 5.0
# After the lease of that gateway has ended: it may be back, if Valkey has just been restarted.
LOST_SECONDS = 2.0
# Let its home know of progress after so much: it may wait for us.
PROGRESS_BYTES = 1 << 18
FROM_THE_BEGINNING = "-"


class Follower:
    """`home` is the member that makes the answer, `lives` whether that one does. Without Valkey it gives up
    after `patience` seconds; `heartbeat` is the longest silence for its readers.
    """

    def __init__(
        self,
        kept: Kept,
        home: str,
        link: Link,
        lives: Callable[[str], bool],
        heartbeat: float,
        patience: float,
    ) -> None:
        self.kept = kept
        self._home = home
        self._link = link
        self._lives = lives
        self._heartbeat = heartbeat
        self._patience = patience
        self._stream = keys_of(link, kept.id).stream
        self._next = FROM_THE_BEGINNING
        self._events = self._reads = 0
        self._told = self._known = 0  # how far its home knows this gateway to be, and the reverse
        self._memo = kept.dialect.memo()
        self._is_behind = self._is_sealed = False
        self._nudged = asyncio.Event()
        self._here: asyncio.Future[Here] | None = None
        self._moved: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        # Since when there has been silence, something was wrong, and Valkey was away.
        self._silent_at = self._well_at = self._up_at = time.monotonic()
        kept.open(kept.dialect.headers, [], kept.dialect.status("not_resumable", {}))

    # What it is told

    def nudge(self) -> None:
        """There is more of it."""
        self._nudged.set()

    def here(self, here: Here) -> None:
        self._memo, self._known = here.memo, here.position
        self.kept.dialect.recall(here.memo, self._events)
        if not self.kept.ended:
            self.kept.status = here.status
        if self._here:
            self._here.set_result(here)
            self._here = None

    def waits(self, status: bytes) -> None:
        self.kept.status = status
        self._tell(status)

    def read_again(self) -> None:
        """The stream may be another one, with the same events."""
        self._next = FROM_THE_BEGINNING
        self.nudge()

    # What it does

    async def run(self) -> None:
        """Until the answer ends, or cancelled."""
        care = asyncio.ensure_future(self._look_after())
        try:
            while not self.kept.ended:
                self._nudged.clear()
                if not await self._read():
                    with suppress(TimeoutError):
                        async with asyncio.timeout(TICK_SECONDS):
                            await self._nudged.wait()
        finally:
            care.cancel()
            if self._here:
                self._here.cancel()
            self._move()
            self._say(Left(self.kept.id, self._link.member))

    async def catch_up(self) -> None:
        """Wait until it has what its home had at the time of the call. Raises AnswerOutOfReach."""
        if not self.kept.log.is_whole:
            return
        self.kept.visit()
        reads = self._reads + 2  # one of them begins after this
        here = await self._ask()
        self.nudge()
        try:
            async with asyncio.timeout(THERE_SECONDS):
                while not self._has(here, reads):
                    await asyncio.wait({self._moved})
                    if not self._link.up:
                        raise AnswerOutOfReach()
        except TimeoutError:
            raise AnswerOutOfReach() from None

    def interrupt(self, error: GatewayError) -> None:
        """End the readings here, but not the answer."""
        self._end(self.kept.dialect.interruption(error, self.kept.request_id))

    async def _ask(self) -> Here | None:
        """Where its home is in the answer; None if that does not say so."""
        if self.kept.ended or not self._lives(self._home):
            return None
        asked = self._here = self._here or asyncio.get_running_loop().create_future()
        self._say_read()
        await asyncio.wait({asked}, timeout=HERE_SECONDS)
        return asked.result() if asked.done() and not asked.cancelled() else None

    def _has(self, here: Here | None, reads: int) -> bool:
        kept = self.kept
        if kept.ended or not kept.log.is_whole:
            return True
        if here is None:
            return self._reads >= reads
        return not here.ended and kept.log.end >= here.position

    async def _read(self) -> bool:
        """Read what comes next; returns whether there is more."""
        kept = self.kept
        try:
            found = await self._link.command("XRANGE", self._stream, self._next, "+", "COUNT", MOST_ENTRIES)
        except Unavailable:
            found = []
        has_gap = False
        for reply in found:
            if has_gap := not await self._take(entry(reply)):
                break
            self._next = f"({reply[0].decode()}"
        is_through = has_gap or len(found) < MOST_ENTRIES
        if is_through:
            self._reads += 1
            self._is_behind = not kept.ended and (has_gap or kept.log.end < self._known)
            if self._is_behind:
                self._next = FROM_THE_BEGINNING
        if kept.log.end - self._told > PROGRESS_BYTES:
            self._say_read()
        self._move()
        return not is_through

    def _move(self) -> None:
        """Let those look who wait for it to catch up."""
        self._moved.set_result(None)
        self._moved = asyncio.get_running_loop().create_future()

    async def _take(self, found: Entry) -> bool:
        """False if what comes before it is missing."""
        kept = self.kept
        is_cut = found.position > 0 and not self._events  # what came before it is not kept any longer
        if found.kind == GIVEN_UP or is_cut:
            if kept.log.is_whole:
                kept.give_up()
            return True
        if found.position > kept.log.end:
            return False
        if frames := found.frames[kept.log.end - found.position :]:
            self._events += frames.count(b"\n\n")
            self._silent_at = time.monotonic()
            if waited := kept.write(frames):
                await waited
        if found.kind == ENDED:
            kept.end()
        return True

    async def _look_after(self) -> None:
        while True:
            await asyncio.sleep(TICK_SECONDS)
            now = time.monotonic()
            if self._link.up:
                self._up_at = now
                self._say_read()
            if not self._link.up or (self._lives(self._home) and not self._is_behind):
                self._well_at = now
            if now - self._well_at > LOST_SECONDS or now - self._up_at > self._patience:
                self._well_at = now
                self._lose()
            elif now - self._silent_at > self._heartbeat - TICK_SECONDS:
                self._tell(self.kept.dialect.heartbeat)

    def _lose(self) -> None:
        """Give the answer an end: the same at all gateways, since whoever is first writes it."""
        kept, end = self.kept, self.kept.log.end
        kept.dialect.recall(self._memo, self._events)
        final = kept.dialect.error(AnswerLost(), kept.request_id)
        if self._is_sealed or self._is_behind or not self._link.up:
            self._end(final)
            return
        self._is_sealed = True
        for at, kind, frames in ((end, FRAMES, final), (end + len(final), ENDED, b"")):
            self._link.send("XADD", self._stream, "NOMKSTREAM", entry_id(at, kind), kind, frames)
        self.nudge()

    def _end(self, final: bytes) -> None:
        self.kept.write(final)
        self.kept.end()
        self.nudge()

    def _tell(self, aside: bytes) -> None:
        self._silent_at = time.monotonic()
        self.kept.tell(aside)

    def _say_read(self) -> None:
        self._told = self.kept.log.end
        self._say(Read(self.kept.id, self._link.member, self._told))

    def _say(self, message: ToHome) -> None:
        self._link.publish(channel_of(self._link, self._home), pack(message))

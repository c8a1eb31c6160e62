"""An answer of this gateway, mirrored in Valkey, so that every other one can read it too."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import structlog
from valkey.exceptions import ResponseError

from ..answers.kept import LAG_BYTES, Kept
from ..errors import TooManyReaders
from .answer_messages import Here, Waits, pack
from .answer_stream import BEGUN, ENDED, FRAMES, GIVEN_UP, Record, channel_of, entry_id, form_of, keys_of
from .link import Link, Unavailable
from .scripts import script

BEGIN = script("answer")

# What is written at once: other answers have their turn in between.
PIECE_BYTES = 64 * 1024
# How long an answer's first reader waits for Valkey, so that the address it is told is known everywhere.
KNOWN_SECONDS = 0.1
# A gateway that has not said for so long that it reads an answer does so no longer.
READ_SECONDS = 4.0
# How long one that nobody can find any more is there for those who read it already.
LAST_SECONDS = 10.0
# An answer that runs lives for so long at least, unless its life is prolonged.
RUNNING_SECONDS = 30.0


class Away:
    """All readers at one other gateway, as a `Reader`. `position` is how far that gateway has told to be."""

    def __init__(self, tell: Callable[[bytes], None]) -> None:
        self.position = 0
        self.said_at = 0.0
        self.tell = tell

    def pass_on(self, frames: bytes) -> None:
        """It is never live: frames are in the stream."""

    def wake(self) -> None:
        """The end is in the stream."""


class Mirror:
    """A `Copy`: the stream has what is in the log, at most as much later as `due` needs to call `write`.

    Nothing here waits for Valkey, and what cannot be written is written when it is there again. An ended
    answer lives for `keep` seconds.
    """

    def __init__(self, kept: Kept, link: Link, keep: float, due: Callable[["Mirror"], None]) -> None:
        self.kept = kept
        self.away: dict[str, Away] = {}
        self.is_over = False  # nothing comes any more, and nobody can find it
        self._link = link
        self._keep = keep
        self._due = due
        self._keys = keys_of(link, kept.id)
        self._position = 0  # of what is in the stream
        self._is_in_order = self._has_end = self._is_due = self._is_removed = False
        self._ended_at: float | None = None
        self._beginning: asyncio.Task[None] | None = None

    # The answer

    def open(self, known: Callable[[], None]) -> None:
        self._beginning = asyncio.ensure_future(self._begin())
        task = asyncio.ensure_future(asyncio.wait({self._beginning}, timeout=KNOWN_SECONDS))
        task.add_done_callback(lambda _: known())

    def grew(self) -> None:
        if not self._is_due:
            self._is_due = True
            self._due(self)

    def give_up(self) -> None:
        if self.away:
            self._write_all()
        else:
            self._position = self.kept.log.end
        self._add(GIVEN_UP)

    def remove(self) -> None:
        if self.away:
            self._write_all()
        self._is_removed = True
        self._link.send("DEL", self._keys.record, *(() if self.away else [self._keys.stream]))
        self.is_over = self._has_end or not self.away
        if self._has_end:
            self._expire()

    # Valkey

    def begin_again(self) -> None:
        """Write all of it anew, if it should be there and is not."""
        is_begun = self._beginning and self._beginning.done()
        if is_begun and not self._is_in_order and not self._is_removed:
            self._beginning = asyncio.ensure_future(self._begin())

    def lost(self) -> None:
        """What is in Valkey is in order no longer, or Valkey is not there."""
        self._is_in_order = False

    def write(self) -> int:
        """Let the stream have the next piece of the log, or the end; returns its size."""
        self._is_due = False
        if not self._is_in_order or self._has_end:
            return 0
        log, before = self.kept.log, self._position
        if log.is_whole or self.away:
            frames = log.events(max(before, log.start), PIECE_BYTES)
            if frames:
                self._add(FRAMES, frames)
            self._position = max(before, log.start) + len(frames)
        else:
            self._position = log.end
        if self._position < log.end:
            self.grew()
        elif self.kept.ended:
            self._add(ENDED)
            self._has_end = True
            self._expire()
            self.is_over = self._is_removed
        return self._position - before

    async def prolong(self) -> None:
        """An answer that runs lives on; one that has vanished comes back."""
        milliseconds = int((self._keep + RUNNING_SECONDS) * 1000)
        try:
            lives = [await self._link.command("PEXPIRE", key, milliseconds) for key in self._keys]
        except Unavailable:
            return
        if not all(lives):
            self._is_in_order = False

    # Its readers elsewhere

    def read(self, member: str, position: int) -> None:
        """A gateway reads it, or goes on doing so."""
        away, kept = self.away.get(member), self.kept
        if away is None and kept.log.is_whole and not kept.ended:
            away = Away(lambda aside: self._tell(member, aside))
            try:
                kept.attach(away)
            except TooManyReaders:
                away = None  # while others read it here, it goes on all the same
            else:
                self.away[member] = away
        if away:
            away.position, away.said_at = position, time.monotonic()
            kept.read()
        self.write()
        here = Here(kept.id, kept.log.end, kept.ended, kept.status, kept.dialect.memo())
        self._link.publish(channel_of(self._link, member), pack(here))

    def leave(self, member: str) -> None:
        if away := self.away.pop(member, None):
            self.kept.detach(away)

    def leave_silent(self, now: float) -> None:
        """Those that have not said for too long that they read it do not."""
        for member in [member for member, away in self.away.items() if away.said_at + READ_SECONDS < now]:
            self.leave(member)

    def _tell(self, member: str, aside: bytes) -> None:
        if aside is self.kept.status and self.kept.log.is_whole:  # the others are every gateway's own
            self._link.publish(channel_of(self._link, member), pack(Waits(self.kept.id, aside)))

    async def _begin(self) -> None:
        kept, start = self.kept, self.kept.log.start
        was_whole = kept.log.is_whole
        first = entry_id(start, BEGUN), BEGUN if was_whole else GIVEN_UP
        record = Record(
            kept.owner, form_of(kept.dialect), self._link.member, kept.request_id, kept.dialect.memo()
        )
        try:
            await self._link.call(BEGIN, self._keys, [self._milliseconds(), *first, *record.parts()])
        except Unavailable:
            return
        except ResponseError as refused:
            structlog.get_logger().warning("answer_not_mirrored", error=str(refused))
            return
        if self._is_removed:
            self._link.send("DEL", self._keys.record)
        self._is_in_order, self._has_end, self._position = True, False, start
        if was_whole and not kept.log.is_whole:
            self.give_up()
        self.grew()

    def _write_all(self) -> None:
        while self._is_in_order and self._position < self.kept.log.end:
            self.write()
        self.grew()

    def _add(self, kind: bytes, frames: bytes = b"") -> None:
        if not self._is_in_order:
            return
        at = entry_id(max(self._position, self.kept.log.start), kind)
        bounds: list[str] = []
        if kind == GIVEN_UP or (kind == FRAMES and not self.kept.log.is_whole):
            behind = LAG_BYTES if self.away else 0
            bounds = ["MINID", "=", entry_id(max(0, self._position - behind), BEGUN)]
        written = asyncio.get_running_loop().create_future()
        written.add_done_callback(self._written)
        self._link.send("XADD", self._keys.stream, "NOMKSTREAM", *bounds, at, kind, frames, answered=written)

    def _written(self, reply: asyncio.Future[Any]) -> None:
        if reply.exception() or reply.result() is None:  # the stream has vanished, or has other entries
            self.lost()

    def _expire(self) -> None:
        for key in self._keys:
            self._link.send("PEXPIRE", key, self._milliseconds())

    def _milliseconds(self) -> int:
        """How long it lives from now on."""
        if not self.kept.ended:
            return int((self._keep + RUNNING_SECONDS) * 1000)
        now = time.monotonic()
        self._ended_at = self._ended_at or now
        seconds = LAST_SECONDS if self._is_removed else self._keep - (now - self._ended_at)
        return max(1, int(seconds * 1000))

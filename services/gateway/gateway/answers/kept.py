"""One answer that is kept: written once, read by each of its readers at its own pace."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

from ..dialects.refusal import Headers, Refusal
from ..dialects.stream import Stream
from ..errors import AnswerNotKept, GatewayError, TooManyReaders
from .event_log import EventLog

# Each reader costs a write a token.
MOST_READERS = 16

# Memory is counted in parts of this size.
ROOM_BYTES = 4096

# Once an answer is not kept any longer: how far its readers may be behind the first of them, and that one
# behind the answer.
LAG_BYTES = 1 << 20


class Reader(Protocol):
    """`position` is that in the log up to which it has been sent the answer."""

    position: int

    def pass_on(self, frames: bytes) -> None:
        """Write the next frames at once; if no further ones can follow, call `fall_behind`."""

    def tell(self, aside: bytes) -> None:
        """Write what is not part of the answer, once all that there is of it is written."""

    def wake(self) -> None:
        """There is something to read, or the answer has ended."""


class Copy(Protocol):
    """Of an answer, for readers elsewhere. It takes from the log what it needs, when it has time."""

    def open(self, known: Callable[[], None]) -> None:
        """The answer has begun; call `known` once it can be found elsewhere, or soon if it cannot."""

    def grew(self) -> None:
        """There is more of it, or it has ended."""

    def give_up(self) -> None:
        """It is not kept any longer. What has been written is still there during this call."""

    def remove(self) -> None:
        """The same, and nobody finds it any more."""


class Kept:
    """`id` is a secret, `owner` the identity of the caller whose it is, `dialect` the form of its events,
    `request_id` that of the request which has asked for it.

    `opened` is done when the answer has begun or been refused; `headers` are then its headers, and `added`
    those that only the first reader gets. `status` says what it waits for. `size` is what the shelf counts
    for it, and `grew` is told what is to be added to that. `stop` ends the work; so does `abandon`, because
    nobody has been reading for `seconds`. Both do nothing once it has `ended`. `copy` is for readers
    elsewhere, if it can have any.
    """

    def __init__(
        self,
        answer_id: str,
        dialect: Stream,
        owner: str,
        request_id: str,
        seconds: float,
        grew: Callable[["Kept", int], None],
    ) -> None:
        self.id = answer_id
        self.dialect = dialect
        self.owner = owner
        self.request_id = request_id
        self.seconds = seconds
        self.log = EventLog()
        self.opened: asyncio.Future[Refusal | None] = asyncio.get_running_loop().create_future()
        self.headers: Headers = []
        self.added: Headers = []
        self.status = b""
        self.size = self._room = 0
        self.reads = 0
        self.stop: Callable[[GatewayError], None] = lambda _: None
        self.abandon: Callable[[], None] = lambda: None
        self.copy: Copy | None = None
        self._grew = grew
        self._farewell = b""
        self._ended = asyncio.Event()
        self._readers: set[Reader] = set()
        self._live: tuple[Reader, ...] = ()  # those that have read everything
        self._caught_up: asyncio.Future[None] | None = None
        self._grace: asyncio.TimerHandle | None = None
        self._wait_for_reader()

    @property
    def ended(self) -> bool:
        return self._ended.is_set()

    @property
    def is_read(self) -> bool:
        return bool(self._readers)

    # The answer

    def open(self, headers: Headers, added: Headers, farewell: bytes) -> None:
        self.headers, self.added, self._farewell = headers, added, farewell
        if self.copy is None:
            self.opened.set_result(None)
            return
        # Whoever is told its address may look for it elsewhere at once.
        self.copy.open(lambda: self.opened.set_result(None))

    def refuse(self, refusal: Refusal) -> None:
        """Instead of `open`."""
        self.opened.set_result(refusal)
        self.end()

    def write(self, frames: bytes) -> Awaitable[None] | None:
        """What it returns is done when further frames can follow."""
        self.log.append(frames)
        for reader in self._live:
            reader.pass_on(frames)
        if self.copy:
            self.copy.grew()
        self._room -= len(frames)
        return self._make_room() if self._room < 0 else None

    def tell(self, aside: bytes) -> None:
        """Tell all readers something that is not part of the answer."""
        for reader in self._readers:
            reader.tell(aside)

    def end(self) -> None:
        self._ended.set()
        self.stop, self.abandon, self.status = (lambda _: None), (lambda: None), b""
        self._stop_waiting()
        for reader in self._readers:
            reader.wake()
        if self.copy:
            self.copy.grew()

    async def wait_ended(self) -> None:
        await self._ended.wait()

    def give_up(self) -> None:
        """Keep it no longer: its readers are the last, and without readers it is abandoned."""
        if self.copy:
            self.copy.give_up()
        self.forget()
        self.status = self._farewell
        self.tell(self.status)
        if not self._readers:
            self.abandon()

    def forget(self) -> None:
        """Free what all readers have read; one that is far behind the first loses the rest."""
        positions = [reader.position for reader in self._readers] or [self.log.end]
        self.log.forget(max(min(positions), max(positions) - LAG_BYTES))
        if self._caught_up and not self._is_ahead() and not self._caught_up.done():
            self._caught_up.set_result(None)

    def _make_room(self) -> Awaitable[None] | None:
        if self.log.is_whole:
            more = ROOM_BYTES - self._room
            self._room = ROOM_BYTES
            self._grew(self, more)
        else:
            self.forget()
        if self.log.is_whole or not self._is_ahead():
            return None
        self._caught_up = asyncio.get_running_loop().create_future()
        return self._caught_up

    def _is_ahead(self) -> bool:
        """Whether it is too far ahead of all its readers."""
        return bool(self._readers) and all(
            reader.position < self.log.end - LAG_BYTES for reader in self._readers
        )

    # Its readers

    def visit(self) -> None:
        """Somebody comes without reading it: wait anew for a reader. Raises AnswerNotKept."""
        if not self.log.is_whole:
            raise AnswerNotKept("this answer has grown too large to be kept, and cannot be read again")
        if self._grace:
            self._stop_waiting()
            self._wait_for_reader()

    def attach(self, reader: Reader) -> None:
        """Raises AnswerNotKept, TooManyReaders."""
        self.visit()
        if len(self._readers) >= MOST_READERS:
            raise TooManyReaders(f"{MOST_READERS} connections read this answer already; close one of them")
        self._stop_waiting()
        self._readers.add(reader)
        self.reads += 1

    def go_live(self, reader: Reader) -> None:
        """It has read everything: let it pass on what comes."""
        self._live = (*self._live, reader)

    def fall_behind(self, reader: Reader) -> None:
        """It reads from the log what comes."""
        self._live = tuple(other for other in self._live if other is not reader)

    def read(self) -> None:
        """One of its readers has read from the log."""
        if not self.log.is_whole:
            self.forget()

    def detach(self, reader: Reader) -> None:
        self._readers.remove(reader)
        self.fall_behind(reader)
        self.read()
        if not self._readers and not self.ended:
            self._wait_for_reader()

    def _wait_for_reader(self) -> None:
        seconds = self.seconds if self.log.is_whole else 0
        self._grace = asyncio.get_running_loop().call_later(seconds, lambda: self.abandon())

    def _stop_waiting(self) -> None:
        if self._grace:
            self._grace.cancel()
            self._grace = None

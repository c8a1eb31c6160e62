"""The answers of all gateways: this one's own, and copies of others' while somebody reads them here."""

import asyncio
import re
from contextlib import suppress

import msgspec
import structlog

from ..answers.kept import Kept
from ..answers.shelf import BASE_BYTES, Shelf
from ..dialects.stream import Stream
from ..errors import AnswerCancelled, AnswerStopped, Drained
from ..settings import Settings
from .answer_messages import Grown, Here, Left, Read, Waits, unpack
from .answer_stream import Record, channel_of, dialect_of, keys_of
from .errors import AnswerOutOfReach
from .follower import Follower
from .home import Home
from .link import Link, Unavailable
from .members import Members
from .questions import Questions

# A copy that nobody reads is there for so long: whoever polls an answer comes back.
LINGER_SECONDS = 5.0

_ID = re.compile(r"[\w-]{1,64}", re.ASCII)


class SharedShelf(Shelf):
    """Created before the link runs, which it uses."""

    def __init__(self, settings: Settings, link: Link, members: Members, questions: Questions) -> None:
        super().__init__(settings)
        self._link = link
        self._members = members
        self._questions = questions
        self._home = Home(link, settings.resume_keep)
        self._followers: dict[str, Follower] = {}
        self._following: set[asyncio.Task[None]] = set()
        link.subscribe(channel_of(link, link.member), self._receive)
        link.when_up(self._read_again)
        questions.answer("cancel answer", lambda asked: self._cancel_own(*asked))
        questions.answer("delete answer", lambda asked: self._delete_own(*asked))

    @property
    def longest(self) -> int:
        return self._settings.resume_max

    async def share(self) -> None:
        """Let other gateways read the answers of this one, until cancelled."""
        await self._home.run()

    def begin(self, answer_id: str, dialect: Stream, owner: str, request_id: str, seconds: float) -> Kept:
        kept = super().begin(answer_id, dialect, owner, request_id, seconds)
        kept.copy = self._home.mirror(kept)
        return kept

    async def stop(self, kept: Kept, reason: AnswerStopped) -> None:
        """Raises AnswerOutOfReach."""
        if self._is_own(kept):
            await super().stop(kept, reason)
        elif not kept.ended and not any(
            await self._questions.ask("cancel answer", [kept.id, reason.message])
        ):
            raise AnswerOutOfReach()

    async def delete(self, kept: Kept, reason: AnswerStopped) -> None:
        """Raises AnswerOutOfReach."""
        if self._is_own(kept):
            await super().delete(kept, reason)
            with suppress(Unavailable):
                await self._link.command("PING")  # by now nobody finds it any more
        elif not any(await self._questions.ask("delete answer", [kept.id, reason.message])):
            if not kept.ended:
                raise AnswerOutOfReach()
            try:
                await self._link.command("DEL", *keys_of(self._link, kept.id))
            except Unavailable:
                raise AnswerOutOfReach() from None

    def drain(self) -> None:
        """Answers go on, within the grace: whoever comes back reaches another gateway."""

    def dismiss(self) -> None:
        reason = Drained("the gateway is restarting; read on after the last event")
        for follower in tuple(self._followers.values()):
            if not follower.kept.ended:
                follower.interrupt(reason)

    async def aclose(self) -> None:
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=self._settings.grace)
        await super().aclose()
        await self._home.aclose()
        for task in self._following:
            task.cancel()
        await asyncio.gather(*self._following, return_exceptions=True)

    def _is_own(self, kept: Kept) -> bool:
        return self._answers.get(kept.id) is kept

    # Other gateways' answers

    async def _find(self, answer_id: str, owner: str) -> Kept | None:
        """Raises AnswerOutOfReach."""
        if own := await super()._find(answer_id, owner):
            return own
        if not _ID.fullmatch(answer_id):
            return None
        follower = self._followers.get(answer_id)
        try:
            fields = await self._link.command("HMGET", keys_of(self._link, answer_id).record, *Record._fields)
        except Unavailable:
            if follower:
                return follower.kept
            raise AnswerOutOfReach() from None
        if None in fields or fields[0].decode() != owner:
            return None
        owner, form, home, request_id = (field.decode() for field in fields[:-1])
        record = Record(owner, form, home, request_id, fields[-1])
        follower = self._followers.get(answer_id) or self._follow(answer_id, record)
        await follower.catch_up()
        return follower.kept

    def _follow(self, answer_id: str, record: Record) -> Follower:
        dialect = dialect_of(answer_id, record, self._settings.max_line_bytes)
        kept = Kept(answer_id, dialect, record.owner, record.request_id, LINGER_SECONDS, self._copy_grew)
        follower = Follower(
            kept,
            record.home,
            self._link,
            lambda home: home in self._members.names,
            self._settings.heartbeat,
            self._settings.idle_timeout,
        )
        self._followers[answer_id] = follower
        self._count(kept, BASE_BYTES)
        task = asyncio.ensure_future(self._run_follower(follower))
        kept.abandon = lambda: self._abandon(follower, task)
        self._following.add(task)
        task.add_done_callback(self._following.discard)
        return follower

    async def _run_follower(self, follower: Follower) -> None:
        try:
            await follower.run()
            await asyncio.sleep(LINGER_SECONDS)
        finally:
            self._drop(follower)

    def _abandon(self, follower: Follower, task: asyncio.Task[None]) -> None:
        self._drop(follower)
        task.cancel()

    def _drop(self, follower: Follower) -> None:
        kept = follower.kept
        if self._followers.get(kept.id) is follower:
            del self._followers[kept.id]
            self._count(kept, -kept.size)

    def _copy_grew(self, kept: Kept, size: int) -> None:
        self._count(kept, size)
        most = self._settings.resume_total_bytes
        if self.size > most:
            self._drop_ended()
        if self.size > most:
            self._count(kept, BASE_BYTES - kept.size)
            kept.give_up()

    def _make_room(self) -> bool:
        if self.size > self._settings.resume_total_bytes:
            self._drop_ended()
        return super()._make_room()

    def _drop_ended(self) -> None:
        for follower in tuple(self._followers.values()):
            if follower.kept.ended and not follower.kept.is_read:
                self._drop(follower)

    # What other gateways say

    def _receive(self, packed: bytes) -> None:
        try:
            message = unpack(packed)
        except msgspec.MsgspecError as error:
            structlog.get_logger().warning("shared_message_unknown", error=str(error))
            return
        match message:
            case Read() | Left():
                self._home.receive(message)
            case Grown(ids):
                for follower in filter(None, map(self._followers.get, ids)):
                    follower.nudge()
            case Here(answer_id) if answer_id in self._followers:
                self._followers[answer_id].here(message)
            case Waits(answer_id, status) if answer_id in self._followers:
                self._followers[answer_id].waits(status)

    def _read_again(self) -> None:
        for follower in self._followers.values():
            follower.read_again()

    def _cancel_own(self, answer_id: str, message: str) -> bool:
        kept = self._answers.get(answer_id)
        if kept:
            kept.stop(AnswerCancelled(message))
        return kept is not None

    def _delete_own(self, answer_id: str, message: str) -> bool:
        kept = self._answers.get(answer_id)
        if kept:
            kept.stop(AnswerStopped(message))
            self._remove(kept)
        return kept is not None

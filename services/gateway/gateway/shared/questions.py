"""What one gateway asks all others, such as what they run."""

import asyncio
from collections.abc import Callable
from itertools import count
from typing import Any

import msgspec
import structlog

from .link import Link
from .members import Members

# A gateway that has not answered by then is about to be dead.
ANSWER_SECONDS = 1.0


class _Question(msgspec.Struct, array_like=True):
    asker: str
    number: int
    kind: str
    subject: Any


class _Answer(msgspec.Struct, array_like=True):
    number: int
    answer: Any


class _Asked:
    def __init__(self, number: int) -> None:
        self.missing = number
        self.answers: list[Any] = []
        self.complete: asyncio.Future[None] = asyncio.get_running_loop().create_future()


class Questions:
    """Questions and answers are whatever msgpack can express."""

    def __init__(self, link: Link, members: Members) -> None:
        self._link = link
        self._members = members
        self._answerers: dict[str, Callable[[Any], Any]] = {}
        self._numbers = count()
        self._asked: dict[int, _Asked] = {}
        link.subscribe(link.key("questions"), self._answer)
        link.subscribe(link.key("answers", link.member), self._answered)

    def answer(self, kind: str, answerer: Callable[[Any], Any]) -> None:
        """Let `answerer` answer the questions of a kind."""
        self._answerers[kind] = answerer

    async def ask(self, kind: str, subject: Any) -> list[Any]:
        """The answers of all other gateways that answer in time."""
        others = len(self._members.names) - 1
        if not others or not self._link.up:
            return []
        number = next(self._numbers)
        asked = self._asked[number] = _Asked(others)
        question = _Question(self._link.member, number, kind, subject)
        self._link.publish(self._link.key("questions"), msgspec.msgpack.encode(question))
        await asyncio.wait({asked.complete}, timeout=ANSWER_SECONDS)
        del self._asked[number]
        return asked.answers

    def _answer(self, packed: bytes) -> None:
        try:
            question = msgspec.msgpack.decode(packed, type=_Question)
        except msgspec.MsgspecError as error:
            structlog.get_logger().warning("shared_message_unknown", error=str(error))
            return
        answerer = self._answerers.get(question.kind)
        if question.asker != self._link.member and answerer:
            answer = _Answer(question.number, answerer(question.subject))
            self._link.publish(self._link.key("answers", question.asker), msgspec.msgpack.encode(answer))

    def _answered(self, packed: bytes) -> None:
        answer = msgspec.msgpack.decode(packed, type=_Answer)
        if asked := self._asked.get(answer.number):
            asked.answers.append(answer.answer)
            asked.missing -= 1
            if not asked.missing and not asked.complete.done():
                asked.complete.set_result(None)

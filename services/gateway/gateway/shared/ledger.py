"""The ledger of several gateways: one of them, the scheduler, decides for all.

Only a gateway itself knows for certain what it runs and what waits there. It tells each new scheduler, which
decides nothing before all have done so, and what an earlier one has decided is void. So the slots of one
that dies are free when its lease ends, and nothing is lost with the scheduler, or with Valkey. While that is
not there, each gateway decides for itself, over its share of the slots.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from itertools import count

import msgspec
import structlog

from ..admission.estimates import Estimates
from ..admission.schedule import Bounds, Schedule
from ..admission.slots import Capacity, Slots
from ..admission.turn import Turn
from ..admission.waiters import Waiters
from ..errors import CallerQueueFull, QueueFull
from .link import Link
from .members import Members
from .messages import (
    Begin,
    Enter,
    EnterAgain,
    FromScheduler,
    Leave,
    Refuse,
    Standings,
    Sync,
    Tell,
    ToScheduler,
    Wait,
    pack,
    unpack,
)
from .scheduler import Scheduler, entry_of

STANDINGS_SECONDS = 1.0

# The epoch of a gateway that decides for itself alone.
ALONE = 0


class SharedLedger:
    def __init__(
        self,
        link: Link,
        members: Members,
        capacity: Capacity,
        slack: int,
        estimates: Estimates,
        bounds: Bounds,
    ) -> None:
        self._link = link
        self._members = members
        self._capacity = capacity
        self._slack = slack
        self._estimates = estimates
        self._bounds = bounds
        self._waiters = Waiters(bounds.timeout)
        self._turns: dict[int, Turn] = {}
        self._numbers: dict[Turn, int] = {}
        self._next_number, self._sessions = count(1), count(1)
        self._session = self._followed = 0
        # Those that have entered and do not know yet whether they may wait.
        self._answers: dict[Turn, asyncio.Future[None]] = {}
        # Messages for an epoch of which this gateway has not heard.
        self._early: list[tuple[str, ToScheduler]] = []
        # If this gateway decides, for all or only for itself.
        self._local: Scheduler | None = None
        link.subscribe(link.key("turns", link.member), self._receive)
        link.when_down(self._decide_alone)
        members.when_changed(self._members_changed)
        self._decide_alone()

    # Ledger

    async def enter(self, turn: Turn) -> None:
        turn.entered = time.monotonic()
        number = next(self._next_number)
        self._turns[number], self._numbers[turn] = turn, number
        if self._local:
            self._local.enter(turn)
            return
        answer = self._answers[turn] = asyncio.get_running_loop().create_future()
        self._tell(Enter(self._members.epoch, entry_of(number, turn)))
        try:
            await answer
        finally:
            del self._answers[turn]

    async def wait(self, turn: Turn) -> None:
        await self._waiters.wait(turn, self._retry_after)

    def enter_again(self, turn: Turn) -> None:
        if self._local:
            self._local.schedule.enter_again(turn)
        else:
            turn.fail()
            self._tell(EnterAgain(self._members.epoch, self._numbers[turn]))

    def leave(self, turn: Turn) -> None:
        number = self._numbers.pop(turn, None)
        if number is None:
            return
        del self._turns[number]
        if self._local:
            self._local.leave(turn)
            return
        if turn.is_running:
            self._estimates.learn(turn, time.monotonic())
        self._tell(Leave(self._members.epoch, number, turn.tokens()))

    def advance(self) -> None:
        if self._local:
            self._local.schedule.advance()

    def turns(self) -> Sequence[Turn]:
        if self._local:
            return [turn for turn in self._local.turns() if turn in self._numbers]
        running = [turn for turn in self._numbers if turn.is_running]
        waiting = [turn for turn in self._numbers if not turn.is_running]
        running.sort(key=lambda turn: turn.started or 0)
        waiting.sort(key=lambda turn: (turn.standing or (0,), turn.entered))
        return [*running, *waiting]

    def update(self) -> None:
        if self._local:
            self._local.schedule.update()

    def share(self, slots: int) -> int:
        return self._local.schedule.slots.share(slots) if self._local else slots

    def free(self, server: str, model: str, slots: int) -> int:
        return self._local.schedule.free(server, model, slots) if self._local else 0

    # Who decides

    async def run(self) -> None:
        """Tell the other gateways where those that wait stand, until cancelled."""
        while True:
            await asyncio.sleep(STANDINGS_SECONDS)
            if self._local:
                self._local.tell_standings()

    def _members_changed(self, was_dropped: bool) -> None:
        members = self._members
        if members.scheduler != self._link.member:
            if self._local or self._followed != members.epoch or was_dropped:
                self._follow()
        elif self._local and self._local.epoch == members.epoch:
            self._local.members_are(members.names)
        else:
            self._decide_for_all()

    def _follow(self) -> None:
        self._local = None
        self._followed, self._session = self._members.epoch, next(self._sessions)
        self._early = [letter for letter in self._early if letter[1].epoch > self._followed]
        entries = [entry_of(number, turn) for number, turn in self._turns.items()]
        self._tell(Sync(self._followed, self._session, entries))

    def _decide_for_all(self) -> None:
        members = self._members
        others = members.names - {self._link.member}
        self._decide(members.epoch, others, 1, lambda: members.is_scheduler)
        members.poke()
        early, self._early = self._early, []
        for sender, message in early:
            self._asked(sender, message)

    def _decide_alone(self) -> None:
        self._decide(ALONE, (), self._members.count, lambda: True)

    def _decide(self, epoch: int, others: Iterable[str], shares: int, valid: Callable[[], bool]) -> None:
        def scheduling(begun: Callable[[Turn], None], may_begin: Callable[[], bool]) -> Schedule:
            slots = Slots(self._capacity, shares, self._slack)
            return Schedule(slots, self._estimates, self._bounds.share(shares), begun, may_begin)

        self._local = Scheduler(epoch, others, scheduling, valid, self._waiters.begun, self._send)
        self._local.take_over(tuple(self._numbers))
        for answer in self._answers.values():
            _answer(answer)

    # Messages

    def _tell(self, message: ToScheduler) -> None:
        self._send(self._members.scheduler, message)

    def _send(self, member: str, message: ToScheduler | FromScheduler) -> None:
        self._link.publish(self._link.key("turns", member), pack(self._link.member, message))

    def _receive(self, packed: bytes) -> None:
        try:
            sender, message = unpack(packed)
        except msgspec.MsgspecError as error:
            structlog.get_logger().warning("shared_message_unknown", error=str(error))
            return
        if not isinstance(message, FromScheduler):
            self._asked(sender, message)
        elif isinstance(message, Tell):
            if self._local is None and message.epoch == self._members.epoch:
                self._follow()
        elif self._local is None and message.session == self._session:
            self._decided(message)

    def _asked(self, sender: str, message: ToScheduler) -> None:
        if self._local and self._local.epoch == message.epoch:
            self._local.receive(sender, message)
        elif message.epoch > self._members.epoch:
            self._early.append((sender, message))

    def _decided(self, message: Begin | Wait | Refuse | Standings) -> None:
        """What the scheduler has decided. A turn that it names may have left since then."""
        if isinstance(message, Standings):
            for number, standing in message.standings.items():
                if turn := self._turns.get(number):
                    turn.standing = standing
            return
        turn = self._turns.get(message.number)
        if turn is None:
            return
        answer = self._answers.get(turn)
        match message:
            case Begin():
                turn.server, turn.started = message.server, time.monotonic()
                _answer(answer)
                self._waiters.begun(turn)
            case Wait():
                _answer(answer)
            case Refuse():
                refusal = CallerQueueFull if message.of_caller else QueueFull
                _answer(answer, refusal(message.message, message.retry_after))

    def _retry_after(self, turn: Turn) -> int:
        """Seconds until the next slot for the turn's model is expected to be free."""
        if self._local:
            return self._local.schedule.retry_after(turn)
        return turn.standing.eta_seconds if turn.standing else 1


def _answer(answer: asyncio.Future[None] | None, refusal: QueueFull | None = None) -> None:
    if answer is None or answer.done():
        return
    if refusal:
        answer.set_exception(refusal)
    else:
        answer.set_result(None)

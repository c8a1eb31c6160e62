"""Decides for all gateways who has a slot, over one schedule."""

import time
from collections.abc import Callable, Iterable, Sequence

from ..admission.schedule import Schedule
from ..admission.turn import Standing, Turn
from ..ask.waiting import Used
from ..errors import CallerQueueFull, QueueFull
from .messages import (
    Begin,
    Enter,
    EnterAgain,
    Entry,
    FromScheduler,
    Leave,
    Refuse,
    Standings,
    Sync,
    Tell,
    ToScheduler,
    Wait,
)

# Makes a schedule of what calls its first argument when a turn begins, and its second to ask whether one may.
Scheduling = Callable[[Callable[[Turn], None], Callable[[], bool]], Schedule]


class _Member:
    """Another gateway: copies of its turns, by its numbers, and the standings that it has been told."""

    def __init__(self) -> None:
        self.session = 0
        self.turns: dict[int, Turn] = {}
        self.told: dict[int, Standing] = {}


class Scheduler:
    """Decides nothing before each of `others` has said what it runs, nor while it is not `valid`. `begun` is
    called for each of this gateway's own turns that begins; `send` tells another gateway something.
    """

    def __init__(
        self,
        epoch: int,
        others: Iterable[str],
        scheduling: Scheduling,
        valid: Callable[[], bool],
        begun: Callable[[Turn], None],
        send: Callable[[str, FromScheduler], None],
    ) -> None:
        self.epoch = epoch
        self.schedule = scheduling(self._begun, lambda: not self._awaited and valid())
        self._awaited = set(others)
        self._members: dict[str, _Member] = {}
        self._owners: dict[Turn, tuple[str, int]] = {}  # of the copies
        self._pending: dict[Turn, None] = {}  # those that wait, before anything is decided
        self._own_begun = begun
        self._send = send

    # This gateway's own turns

    def take_over(self, turns: Sequence[Turn]) -> None:
        """Turns that have been admitted before."""
        self.schedule.take_over([turn for turn in turns if turn.is_running], ())
        self._pending |= dict.fromkeys(turn for turn in turns if not turn.is_running)
        self._begin_if_complete()

    def enter(self, turn: Turn) -> None:
        """As `Schedule.enter`."""
        if self._awaited:
            self._pending[turn] = None
        else:
            self.schedule.enter(turn)

    def leave(self, turn: Turn) -> None:
        """As `Schedule.leave`."""
        self._pending.pop(turn, None)
        self.schedule.leave(turn)

    def turns(self) -> Sequence[Turn]:
        """Everybody's, as `Schedule.turns`."""
        return [*self.schedule.turns(), *self._pending]

    # Other gateways

    def receive(self, sender: str, message: ToScheduler) -> None:
        """A message of this epoch."""
        if isinstance(message, Sync):
            self._sync(sender, message)
            return
        member = self._members.get(sender)
        if member is None:
            self._send(sender, Tell(self.epoch))
            return
        match message:
            case Enter():
                self._enter(sender, member, message.turn)
            case EnterAgain() if turn := member.turns.get(message.number):
                self.schedule.enter_again(turn)
            case Leave() if turn := member.turns.pop(message.number, None):
                member.told.pop(message.number, None)
                self._remove(turn, message.used)

    def members_are(self, names: frozenset[str]) -> None:
        """Free the slots of those that are gone."""
        for name in self._members.keys() - names:
            self._forget(name)
        self._awaited &= names
        self._begin_if_complete()

    def tell_standings(self) -> None:
        """Tell each gateway what has changed for those that wait; ask those that have said nothing yet."""
        for name in self._awaited:
            self._send(name, Tell(self.epoch))
        self.schedule.update()
        for name, member in self._members.items():
            if changed := _changed(member):
                member.told |= changed
                self._send(name, Standings(member.session, changed))

    def _sync(self, sender: str, message: Sync) -> None:
        self._forget(sender)
        member = self._members[sender] = _Member()
        member.session = message.session
        turns = [self._copy(sender, member, entry) for entry in message.turns]
        self._awaited.discard(sender)
        for number, turn in member.turns.items():
            if not turn.is_running:
                self._send(sender, Wait(member.session, number))
        self.take_over(turns)

    def _enter(self, sender: str, member: _Member, entry: Entry) -> None:
        turn = self._copy(sender, member, entry)
        try:
            self.enter(turn)
        except QueueFull as refused:
            del self._owners[turn], member.turns[entry.number]
            of_caller = isinstance(refused, CallerQueueFull)
            refusal = Refuse(member.session, entry.number, refused.message, refused.retry_after, of_caller)
            self._send(sender, refusal)
        else:
            if not turn.is_running:
                self._send(sender, Wait(member.session, entry.number))

    def _copy(self, sender: str, member: _Member, entry: Entry) -> Turn:
        turn = turn_of(entry)
        member.turns[entry.number] = turn
        self._owners[turn] = sender, entry.number
        return turn

    def _begun(self, turn: Turn) -> None:
        owner = self._owners.get(turn)
        if owner is None:
            self._own_begun(turn)
        else:
            name, number = owner
            self._send(name, Begin(self._members[name].session, number, turn.server))

    def _begin_if_complete(self) -> None:
        if not self._awaited:
            waiting, self._pending = sorted(self._pending, key=lambda turn: turn.entered), {}
            self.schedule.take_over((), waiting)

    def _forget(self, name: str) -> None:
        turns = self._members[name].turns.values() if name in self._members else ()
        # Those that wait first: they must not get the slots of the others.
        for turn in sorted(turns, key=lambda turn: turn.is_running):
            self._remove(turn, Used(None, 0))
        self._members.pop(name, None)

    def _remove(self, turn: Turn, used: Used) -> None:
        del self._owners[turn]
        turn.tokens = lambda: used
        self.leave(turn)


def entry_of(number: int, turn: Turn) -> Entry:
    """What the scheduler is told of a turn."""
    now = time.monotonic()
    return Entry(
        number,
        turn.request_id,
        turn.caller,
        turn.model,
        sorted(turn.options),
        turn.weight,
        turn.cost,
        turn.prompt_cost,
        turn.conversation,
        now - turn.entered,
        None if turn.started is None else now - turn.started,
        turn.server,
        sorted(turn.tried),
        now - turn.failed_at if turn.tried else None,
    )


def turn_of(entry: Entry) -> Turn:
    """The scheduler's copy of a turn."""
    now = time.monotonic()
    return Turn(
        entry.request_id,
        entry.caller,
        entry.model,
        lambda: Used(None, 0),
        lambda _: None,
        frozenset(entry.options),
        weight=entry.weight,
        cost=entry.cost,
        prompt_cost=entry.prompt_cost,
        conversation=entry.conversation,
        entered=now - entry.entered,
        started=None if entry.started is None else now - entry.started,
        server=entry.server,
        tried=frozenset(entry.tried),
        failed_at=0 if entry.failed is None else now - entry.failed,
    )


def _changed(member: _Member) -> dict[int, Standing]:
    return {
        number: turn.standing
        for number, turn in member.turns.items()
        if turn.standing and not turn.is_running and turn.standing != member.told.get(number)
    }

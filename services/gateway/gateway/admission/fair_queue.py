"""Start-time fair queueing over callers, for several servers at once: SFQ(D).

Goyal, Vin and Cheng, "Start-time Fair Queueing", 1996; Jin, Chase and Kaur, "Interposed Proportional Sharing
for a Storage Service Utility", 2004.

Each caller has a virtual time at which its next request is due. It advances by the cost of every request that
begins, divided by the caller's weight, and is corrected when the true cost is known. The caller that is due
first goes next. A caller that returns is due now, not earlier: unused time is no credit. So a caller with one
request waits for at most one request of each other caller, however many those have.
"""

from collections import deque
from collections.abc import Callable, Iterator
from heapq import heapify, heappop, heappush

from .turn import Lane, Turn

# When a caller is due, whether another is preferred, its last turn, and the number of its request.
Due = tuple[float, bool, int, int]

# Turns between two searches for callers that may be forgotten.
FORGET_EVERY = 256


class Caller:
    """`due` is the virtual time at which its next request is due, `served` the number of its last turn.
    `credit` is what it was charged too much, in virtual time: its next turn costs so much less.
    """

    __slots__ = ("credit", "due", "lanes", "running", "served")

    def __init__(self, due: float) -> None:
        self.due = due
        self.credit = 0.0
        self.served = 0
        self.running = 0
        # In each lane the order of arrival is kept. A lane that is blocked does not block another.
        self.lanes: dict[Lane, deque[Turn]] = {}


class FairQueue:
    """Decides who is next; knows neither slots nor time. `len` is the number of waiting requests."""

    def __init__(self) -> None:
        self._callers: dict[str, Caller] = {}
        self._now = 0.0  # virtual: when the request that began last was due
        self._arrivals = self._served = self._waiting = self._running = 0

    def __len__(self) -> int:
        return self._waiting

    def __iter__(self) -> Iterator[Turn]:
        for caller in self._callers.values():
            for lane in caller.lanes.values():
                yield from lane

    def waiting_of(self, caller: str) -> int:
        found = self._callers.get(caller)
        return sum(map(len, found.lanes.values())) if found else 0

    def add(self, turn: Turn) -> None:
        caller = self._caller(turn)
        if not caller.lanes:
            caller.due = max(caller.due, self._now)
        self._arrivals += 1
        turn.number = self._arrivals
        caller.lanes.setdefault(turn.lane, deque()).append(turn)
        self._waiting += 1

    def remove(self, turn: Turn) -> None:
        """A request leaves without its turn, at no cost."""
        self._take_out(turn)
        if turn.caller in self._callers:
            self._forget(turn.caller)

    def begin(self, turn: Turn) -> None:
        """A waiting request gets its turn."""
        self._charge(turn)
        self._take_out(turn)

    def begin_at_once(self, turn: Turn) -> None:
        """A request that need not wait gets its turn."""
        caller = self._caller(turn)
        caller.due = max(caller.due, self._now)
        self._arrivals += 1
        turn.number = self._arrivals
        self._charge(turn)

    def put_back(self, turn: Turn) -> None:
        """A turn has come to nothing, at no cost: its request is the first of its lane again."""
        caller = self._callers[turn.caller]
        caller.running -= 1
        self._running -= 1
        caller.due = max(self._now, caller.due - turn.cost / turn.weight)
        caller.lanes.setdefault(turn.lane, deque()).appendleft(turn)
        self._waiting += 1

    def end(self, turn: Turn, cost: float) -> None:
        """A turn is over; `cost` is what it has really cost."""
        caller = self._callers[turn.caller]
        caller.running -= 1
        self._running -= 1
        due = caller.due + (cost - turn.cost) / turn.weight
        # Not earlier than now: it would get several turns before those that wait already.
        caller.due = max(self._now, due)
        caller.credit += caller.due - due
        self._forget(turn.caller)

    def heads(self, is_preferred: Callable[[Turn], bool]) -> list[Turn]:
        """The first request of every caller in every lane, those first that are due first.

        Of two that are equally due, a preferred one goes first, then the one whose caller has waited
        longer for a turn.
        """
        heads = [
            (self._due(caller, lane[0], is_preferred), lane[0])
            for caller in self._callers.values()
            for lane in caller.lanes.values()
        ]
        heads.sort(key=lambda head: head[0])
        return [turn for _, turn in heads]

    def in_order(self) -> list[Turn]:
        """All waiting requests in the order in which they would get their turns with a single slot."""
        queues = []
        for caller in self._callers.values():
            if caller.lanes:
                turns = sorted((turn for lane in caller.lanes.values() for turn in lane), key=_number)
                queues.append((caller.due, caller.served, turns[0].number, 0, turns))
        heapify(queues)
        order, now, served = [], self._now, self._served
        while queues:
            due, _, _, at, turns = heappop(queues)
            turn = turns[at]
            order.append(turn)
            now = max(now, due)
            served += 1
            if at + 1 < len(turns):
                due = max(due, now) + turn.cost / turn.weight
                heappush(queues, (due, served, turns[at + 1].number, at + 1, turns))
        return order

    def _due(self, caller: Caller, turn: Turn, is_preferred: Callable[[Turn], bool]) -> Due:
        return caller.due, not is_preferred(turn), caller.served, turn.number

    def _caller(self, turn: Turn) -> Caller:
        caller = self._callers.get(turn.caller)
        if caller is None:
            caller = self._callers[turn.caller] = Caller(self._now)
        return caller

    def _charge(self, turn: Turn) -> None:
        caller = self._callers[turn.caller]
        # The time during which a lane was blocked gives no credit.
        self._now = max(self._now, caller.due)
        price = turn.cost / turn.weight
        caller.due = self._now + max(0.0, price - caller.credit)
        caller.credit = 0.0  # more than one free turn would make the others wait for an estimate's error
        self._served += 1
        caller.served = self._served
        caller.running += 1
        self._running += 1
        if not self._served % FORGET_EVERY:
            self._forget_all()

    def _take_out(self, turn: Turn) -> None:
        caller = self._callers[turn.caller]
        lane = caller.lanes[turn.lane]
        lane.remove(turn)
        if not lane:
            del caller.lanes[turn.lane]
        self._waiting -= 1
        if not self._waiting:
            self._forget_all()

    def _forget_all(self) -> None:
        for name in tuple(self._callers):
            self._forget(name)

    def _forget(self, name: str) -> None:
        """Forget an idle caller that has used no more than the others. While nobody waits, use is free."""
        caller = self._callers[name]
        if not caller.running and not caller.lanes and (caller.due <= self._now or not self._waiting):
            del self._callers[name]


def _number(turn: Turn) -> int:
    return turn.number

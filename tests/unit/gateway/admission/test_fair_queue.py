"""Callers get tokens by their weights, unused time is no credit, and idle callers are forgotten."""

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.admission.fair_queue import FairQueue
from gateway.admission.turn import Turn
from tests.unit.gateway.admission.ledgers import turn


@settings(max_examples=60, deadline=None)
@given(
    weights=st.lists(st.integers(1, 10), min_size=2, max_size=5),
    slots=st.integers(1, 4),
    data=st.data(),
)
def test_callers_that_always_wait_get_tokens_in_proportion_to_their_weights(
    weights: list[int], slots: int, data: st.DataObject
) -> None:
    """However much longer their answers are than expected. Of shorter ones each caller gets as many turns
    as of expected ones, since what it was charged too much is credited for one turn at most.
    """
    queue = FairQueue()
    costs = [data.draw(st.integers(100, 500)) for _ in weights]
    got = [0.0] * len(weights)
    running: list[Turn] = []

    def add(number: int) -> None:
        queue.add(turn(str(number), cost=100, weight=weights[number]))

    for number in range(len(weights)):
        for _ in range(slots + 1):
            add(number)
    for _ in range(600):
        while len(running) < slots:
            head = queue.heads(lambda turn: True)[0]
            queue.begin(head)
            running.append(head)
            add(int(head.caller))
        ended = running.pop(0)
        number = int(ended.caller)
        got[number] += costs[number]
        queue.end(ended, costs[number])
    shares = [tokens / weight for tokens, weight in zip(got, weights, strict=True)]
    # What is charged too late: all slots' answers, at their estimated and at their true cost.
    bound = max((slots + 1) * (100 + cost) / weight for cost, weight in zip(costs, weights, strict=True))
    assert max(shares) - min(shares) <= 2 * bound


def test_a_caller_that_was_away_has_no_credit() -> None:
    queue = FairQueue()
    for _ in range(20):
        queue.add(turn("busy"))
    for _ in range(10):
        head = queue.heads(lambda turn: True)[0]
        queue.begin(head)
        queue.end(head, 100)
    for _ in range(5):
        queue.add(turn("away"))
    order = []
    while queue:
        head = queue.heads(lambda turn: True)[0]
        queue.begin(head)
        order.append(head.caller)
    assert order[:8] == ["away", "busy"] * 4


def test_callers_that_came_once_are_forgotten() -> None:
    queue = FairQueue()
    queue.add(turn("stays"))
    queue.begin(queue.heads(lambda turn: True)[0])
    for number in range(10_000):
        once = turn(f"once {number}")
        queue.begin_at_once(once)
        queue.end(once, 100)
    assert len(queue._callers) < 1000


def test_credit_for_an_estimate_that_was_too_high_is_one_turn_at_most() -> None:
    queue = FairQueue()
    padded = turn("a", cost=16_384)
    queue.begin_at_once(padded)
    for _ in range(60):
        for caller in "abc":
            queue.add(turn(caller))
    for _ in range(40):
        head = queue.heads(lambda turn: True)[0]
        queue.begin(head)
        queue.end(head, 100)
    queue.end(padded, 1)
    order = ""
    for _ in range(12):
        head = queue.heads(lambda turn: True)[0]
        queue.begin(head)
        queue.end(head, 100)
        order += head.caller
    assert "aaa" not in order

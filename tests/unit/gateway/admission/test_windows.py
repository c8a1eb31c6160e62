"""Moving windows, against a model that keeps every charge."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.admission.windows import SLICES, MovingWindow

SECONDS = 3600
SLICE = SECONDS // SLICES
# Whole numbers, so that a charge ends neither before nor after its time: pauses within a slice, within the
# window and beyond it.
PAUSES = st.integers(0, SLICE) | st.integers(0, SECONDS // 4) | st.integers(0, 3 * SECONDS)
CHARGES = st.lists(st.tuples(PAUSES, st.integers(1, 1000)), max_size=200)


class Exact:
    """Counts each charge for exactly `seconds`."""

    def __init__(self, seconds: int) -> None:
        self._seconds = seconds
        self._charges: list[tuple[int, int]] = []

    def charge(self, amount: int, now: int) -> None:
        self._charges.append((now, amount))

    def used(self, now: int) -> int:
        return sum(amount for at, amount in self._charges if now < at + self._seconds)


@given(CHARGES, PAUSES)
def test_a_charge_counts_for_the_windows_length_and_at_most_a_slice_longer(
    charges: list[tuple[int, int]], pause: int
) -> None:
    window, shortest, longest = MovingWindow(SECONDS), Exact(SECONDS), Exact(SECONDS + SLICE)
    now = 0
    for after, amount in charges:
        now += after
        for counting in (window, shortest, longest):
            counting.charge(amount, now)
        assert shortest.used(now) <= window.used(now) <= longest.used(now)
    now += pause
    assert shortest.used(now) <= window.used(now) <= longest.used(now)


@given(CHARGES, PAUSES, st.integers(1, 5000))
def test_the_wait_is_exact(charges: list[tuple[int, int]], pause: int, limit: int) -> None:
    window = MovingWindow(SECONDS)
    now = 0
    for after, amount in charges:
        now += after
        window.charge(amount, now)
    now += pause
    used, wait = window.used(now), window.wait(limit, now)
    assert (wait > 0) == (used >= limit)
    assert wait <= SECONDS
    if wait:
        just_before = now + wait - 1
        assert window.used(just_before) >= limit
        assert window.used(now + wait) < limit


@given(CHARGES, PAUSES)
def test_the_reset_is_exact(charges: list[tuple[int, int]], pause: int) -> None:
    window = MovingWindow(SECONDS)
    now = 0
    for after, amount in charges:
        now += after
        window.charge(amount, now)
    now += pause
    reset = window.reset(now)
    assert (reset > 0) == (window.used(now) > 0)
    if reset:
        assert window.used(now + reset - 1) > 0
        assert window.used(now + reset) == 0


def test_a_charge_beyond_the_limit_counts_in_full() -> None:
    window = MovingWindow(60)
    window.charge(90, 0)
    window.charge(500, 30)
    assert window.used(30) == 590
    assert window.wait(100, 30) == 60
    assert window.used(60) == 500


def test_a_refused_client_never_waits_longer_than_the_window() -> None:
    """OpenAI's and Anthropic's clients ignore a Retry-After of more than 60 seconds."""
    window = MovingWindow(60)
    now = 0.1
    for _ in range(1000):
        window.charge(1, now)
        assert window.wait(1, now) <= 60
        now += 0.7


def test_a_window_keeps_a_bounded_number_of_sums_however_many_charges_it_gets() -> None:
    window = MovingWindow(86400)
    for second in range(3 * 86400):
        window.charge(1000, second)
    assert len(window._slices) <= SLICES + 1
    assert 86400 * 1000 <= window.used(3 * 86400 - 1) <= 86400 * 1000 * (1 + 1 / SLICES)

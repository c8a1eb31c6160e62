"""Limits as they are written, inherited and divided."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.access.caller import Caller
from gateway.access.terms import DEFAULT_TERMS, Terms, parse_terms
from gateway.limits import MAX_AMOUNT, NO_LIMITS, Limits, Window, parse_count, parse_windows, windows_text

AMOUNTS = st.integers(1, MAX_AMOUNT) | st.integers(1, 999).map(lambda number: number * 1000)
WINDOWS = st.lists(
    st.builds(Window, AMOUNTS, st.sampled_from([1, 60, 3600, 86400])),
    max_size=4,
    unique_by=lambda window: window.seconds,
).map(tuple)
COUNTS = st.none() | st.integers(1, 999_999_999)
LIMITS = st.builds(Limits, WINDOWS, WINDOWS, COUNTS, COUNTS)


@pytest.mark.parametrize(
    ("text", "windows"),
    [
        ("60/m", (Window(60, 60),)),
        ("20k/m,1M/d", (Window(20_000, 60), Window(1_000_000, 86400))),
        ("5/s, 100/h", (Window(5, 1), Window(100, 3600))),
        ("-", ()),
        ("", ()),
    ],
)
def test_windows_are_written_as_amounts_per_unit_of_time(text: str, windows: tuple[Window, ...]) -> None:
    assert parse_windows(text) == windows


@given(WINDOWS)
def test_written_windows_are_read_back(windows: tuple[Window, ...]) -> None:
    assert parse_windows(windows_text(windows)) == windows


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("60", "'60' is not a limit; .* like 60/m or 20k/m,1M/d"),
        ("60/min", "is not a limit"),
        ("60/w", "is not a limit"),
        ("1.5k/m", "is not a limit"),
        ("20K/m", "is not a limit"),
        ("-5/m", "is not a limit"),
        ("60/m,", "'' is not a limit"),
        ("\u0665/m", "is not a limit"),
        ("0/m", "at least 1"),
        ("9999999999999/d", "at most"),
        ("60/m,100/m", "two limits for the same unit"),
    ],
)
def test_an_invalid_window_is_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_windows(text)


@pytest.mark.parametrize("text", ["0", "", "-1", "two", "1k", "01", "1000000000"])
def test_an_invalid_count_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="whole number from 1"):
        parse_count(text)


@given(st.builds(Terms, LIMITS, st.integers(1, 100)))
def test_written_terms_are_read_back(terms: Terms) -> None:
    assert (parse_terms(str(terms)) if str(terms) else DEFAULT_TERMS) == terms
    assert " " not in str(terms)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("request=60/m", "unknown limit request; use requests, tokens"),
        ("requests=60/m;requests=5/s", "requests occurs twice"),
        ("requests=60", "is not a limit"),
        ("concurrent=none", "whole number"),
        ("requests=60/m;", "unknown limit ;"),
    ],
)
def test_invalid_terms_are_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_terms(text)


def test_a_limit_of_ones_own_goes_before_the_default_each_by_itself() -> None:
    default = Limits(parse_windows("60/m"), parse_windows("1k/m"), 4)
    own = Limits(requests=parse_windows("1/s"), max_output=500)
    assert own.or_default(default) == Limits(own.requests, default.tokens, 4, 500)
    assert own.or_default(NO_LIMITS) == own


@pytest.mark.parametrize(("parts", "amount", "concurrent"), [(1, 10, 3), (2, 5, 2), (4, 3, 1), (99, 1, 1)])
def test_a_share_is_rounded_up_and_never_nothing(parts: int, amount: int, concurrent: int) -> None:
    limits = Limits((Window(10, 60),), (Window(10, 1),), 3, 500)
    shared = Limits((Window(amount, 60),), (Window(amount, 1),), concurrent, 500)
    assert limits.share(parts) == shared
    assert NO_LIMITS.share(parts) == NO_LIMITS


@pytest.mark.parametrize(
    ("address", "identity"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("fe80::1%eth0", "fe80::/64"),
        ("not:an:address", "not:an:address"),
        ("", ""),
    ],
)
def test_a_caller_without_a_key_is_its_address_or_its_ipv6_network(address: str, identity: str) -> None:
    assert Caller(address).identity == identity
    assert Caller(address, "alice").identity == "alice"

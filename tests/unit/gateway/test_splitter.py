from collections.abc import Iterator
from itertools import product

import pytest

from gateway.dialects.splitter import EVENT, LINE, EventSplitter, Splitter
from gateway.errors import UpstreamFailed


def every_chunking(data: bytes) -> Iterator[list[bytes]]:
    """All 2^(n-1) ways to cut `data` into pieces."""
    for cuts in product((False, True), repeat=len(data) - 1):
        ends = [at + 1 for at, cut in enumerate(cuts) if cut]
        yield [data[start:end] for start, end in zip([0, *ends], [*ends, len(data)], strict=True)]


def units_of(separator: bytes, pieces: list[bytes]) -> list[bytes]:
    splitter = EventSplitter(1000) if separator == EVENT else Splitter(separator, 1000)
    return [unit for piece in pieces for unit in splitter.feed(piece)] + splitter.flush()


def test_any_chunking_gives_the_same_lines() -> None:
    for pieces in every_chunking(b"ab\n\nc\r\n\ndef\ng"):
        assert units_of(LINE, pieces) == [b"ab", b"c\r", b"def", b"g"], pieces


def test_any_chunking_gives_the_same_events() -> None:
    for pieces in every_chunking(b"a\nb\n\n\n\nc\n\nd\ne"):
        assert units_of(EVENT, pieces) == [b"a\nb", b"c", b"d\ne"], pieces


@pytest.mark.parametrize("end", [b"\r\n", b"\r"])
def test_any_chunking_and_any_end_of_lines_gives_the_same_events(end: bytes) -> None:
    for pieces in every_chunking(b"a\nb\n\nc\n\n\n\nd".replace(b"\n", end)):
        assert units_of(EVENT, pieces) == [b"a\nb", b"c", b"d"], pieces


def test_ends_of_lines_may_be_mixed() -> None:
    for pieces in every_chunking(b"a\r\n\nb\n\r\nc\r\r\nd"):
        assert units_of(EVENT, pieces) == [b"a", b"b", b"c", b"d"], pieces


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1e", "\r"])
def test_only_a_newline_ends_a_line(separator: str) -> None:
    text = f"one{separator}two".encode()
    assert units_of(LINE, [text + b"\n"]) == [text]


@pytest.mark.parametrize("separator", [LINE, EVENT])
def test_a_unit_of_megabytes_in_single_bytes_is_put_together_in_linear_time(separator: bytes) -> None:
    splitter = Splitter(separator, 10_000_000)
    for _ in range(300_000):
        assert not splitter.feed(b"x")
    assert splitter.feed(separator) == [b"x" * 300_000]


@pytest.mark.parametrize("separator", [LINE, EVENT])
def test_a_unit_over_the_limit_is_refused_before_it_is_held(separator: bytes) -> None:
    splitter = Splitter(separator, 10)
    splitter.feed(b"x" * 10 + separator + b"y" * 10)
    with pytest.raises(UpstreamFailed, match="more than 10 bytes"):
        splitter.feed(b"y")


def test_nothing_is_left_to_flush_after_an_end() -> None:
    splitter = Splitter(LINE, 10)
    splitter.feed(b"x\n")
    assert splitter.flush() == []

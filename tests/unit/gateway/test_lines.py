from collections.abc import Iterator
from itertools import product

import pytest

from gateway.dialects.lines import LineSplitter
from gateway.errors import UpstreamFailed


def every_chunking(data: bytes) -> Iterator[list[bytes]]:
    """All 2^(n-1) ways to cut `data` into pieces."""
    for cuts in product((False, True), repeat=len(data) - 1):
        ends = [at + 1 for at, cut in enumerate(cuts) if cut]
        yield [data[start:end] for start, end in zip([0, *ends], [*ends, len(data)], strict=True)]


def lines_of(pieces: list[bytes]) -> list[bytes]:
    splitter = LineSplitter(1000)
    return [line for piece in pieces for line in splitter.feed(piece)] + splitter.flush()


def test_any_chunking_gives_the_same_lines() -> None:
    for pieces in every_chunking(b"ab\n\nc\r\n\ndef\ng"):
        assert lines_of(pieces) == [b"ab", b"c\r", b"def", b"g"], pieces


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1e", "\r"])
def test_only_a_newline_ends_a_line(separator: str) -> None:
    text = f"one{separator}two".encode()
    assert lines_of([text + b"\n"]) == [text]


def test_a_line_of_megabytes_in_single_bytes_is_put_together_in_linear_time() -> None:
    splitter = LineSplitter(10_000_000)
    for _ in range(2_000_000):
        assert not splitter.feed(b"x")
    assert splitter.feed(b"\n") == [b"x" * 2_000_000]


def test_a_line_over_the_limit_is_refused_before_it_is_held() -> None:
    splitter = LineSplitter(10)
    splitter.feed(b"x" * 10 + b"\n" + b"y" * 10)
    with pytest.raises(UpstreamFailed, match="more than 10 bytes"):
        splitter.feed(b"y")


def test_nothing_is_left_to_flush_after_a_line_end() -> None:
    splitter = LineSplitter(10)
    splitter.feed(b"x\n")
    assert splitter.flush() == []

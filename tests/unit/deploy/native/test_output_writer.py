"""What the native run writes: never waited for, never an error, and what is lost is told once."""

import fcntl
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.native.output_writer import MAX_WAITING_BYTES, OutputWriter
from tests.processes import wait_until

LINE = b"x" * 999 + b"\n"
GAP = re.compile(rb"\((\d+) lines were dropped: [^\n]+\)\n")


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    yield reading, writing
    for descriptor in (reading, writing):
        os.close(descriptor)


def read(descriptor: int, end: bytes) -> bytes:
    found = b""
    while not found.endswith(end):
        found += os.read(descriptor, 65536)
    return found


def test_a_reader_that_stops_reading_is_not_waited_for_and_told_of_the_gap_once(
    pipe: tuple[int, int],
) -> None:
    reading, writing = pipe
    output = OutputWriter(writing)
    lines = 3 * MAX_WAITING_BYTES // len(LINE)
    started = time.monotonic()
    for _ in range(lines):
        output.write(LINE)
    assert time.monotonic() - started < 5
    shown = read(reading, b"room)\n")
    output.write(b"after\n")
    shown += read(reading, b"after\n")
    (gap,) = GAP.findall(shown)
    assert shown.count(LINE) + int(gap) == lines
    assert int(gap) > lines // 2
    assert shown.endswith(b")\nafter\n")
    output.close()


def test_it_goes_on_after_its_reader_has_gone_and_another_has_come(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    first = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    writing = os.open(fifo, os.O_WRONLY)
    output = OutputWriter(writing)
    output.write(b"heard\n")
    os.set_blocking(first, True)
    assert read(first, b"heard\n") == b"heard\n"
    os.close(first)
    for _ in range(7):
        output.write(b"lost\n")
    wait_until(lambda: output._dropped == 7, 10, "seven lines are lost")
    second = os.open(fifo, os.O_RDONLY)
    output.write(b"heard again\n")
    shown = read(second, b"again\n")
    assert [int(gap) for gap in GAP.findall(shown)] == [7]
    output.write(b"and so on\n")
    assert read(second, b"so on\n") == b"and so on\n"
    output.close()
    os.close(second)
    os.close(writing)


def test_a_line_that_a_full_disk_has_torn_does_not_swallow_the_next_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    room, write = 9, os.write

    def on_a_full_disk(descriptor: int, text: memoryview) -> int:
        nonlocal room
        if not room:
            raise OSError(28, "No space left on device")
        written = write(descriptor, text[:room])
        room -= written
        return written

    monkeypatch.setattr(os, "write", on_a_full_disk)
    with (tmp_path / "log").open("wb") as log:
        output = OutputWriter(log.fileno())
        output.write(b"fits\n")
        output.write(b"this one is torn\n")
        wait_until(lambda: output._dropped == 1, 10, "the disk is full")
        room = 1000
        output.write(b"whole\n")
        output.close()
    text = (tmp_path / "log").read_text()
    assert text.splitlines() == [
        "fits",
        "this",
        "(1 line was dropped: the reader was too slow, or there was no room)",
        "whole",
    ]


def test_a_descriptor_that_somebody_has_made_non_blocking_loses_nothing(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    os.set_blocking(writing, False)
    output = OutputWriter(writing)
    for _ in range(20):
        output.write(LINE)
    output.write(b"end\n")
    assert read(reading, b"end\n") == 20 * LINE + b"end\n"
    output.close()


def test_closing_waits_for_what_is_read_and_not_for_what_is_not(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    output = OutputWriter(writing)
    output.write(b"last words\n")
    output.close()
    assert os.read(reading, 100) == b"last words\n"
    blocked = OutputWriter(writing)
    blocked.write(100 * LINE)
    started = time.monotonic()
    blocked.close()
    assert time.monotonic() - started < 10
    left = 100 * len(LINE)  # for its thread to end before its pipe does
    while left:
        left -= len(os.read(reading, left))

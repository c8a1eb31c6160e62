"""Whoever logs never waits and never gets an error, whatever becomes of the lines."""

import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from subprocess import PIPE, run

import pytest

from gateway.telemetry import output
from gateway.telemetry.output import LineWriter
from tests.processes import wait_until


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """What is read from, and what is written to; the test may close either."""
    ends = os.pipe()
    yield ends
    for end in ends:
        with suppress(OSError):
            os.close(end)


def test_lines_come_out_whole_and_in_order(pipe: tuple[int, int]) -> None:
    writer = LineWriter(pipe[1])
    lines = [f"line {number}\n" for number in range(1000)]
    for line in lines:
        writer.write(line)
    assert writer.wait(10)
    assert os.read(pipe[0], 1_000_000).decode() == "".join(lines)
    assert writer.dropped == 0


def test_nobody_waits_for_a_reader_who_does_not_read(
    pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output, "MAX_WAITING", 100)
    writer = LineWriter(pipe[1])
    for _ in range(10_000):  # a pipe has room for 64 kB
        writer.write("x" * 999 + "\n")
    assert writer.dropped > 9000
    assert not writer.wait(0.1)
    drained(pipe[0], writer)


def test_once_somebody_reads_again_it_goes_on(pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output, "MAX_WAITING", 100)
    writer = LineWriter(pipe[1])
    for _ in range(1000):
        writer.write("x" * 999 + "\n")
    taken = drained(pipe[0], writer)
    assert taken == (1000 - writer.dropped) * 1000
    writer.write("the last one\n")
    assert drained(pipe[0], writer) == len("the last one\n")


def test_a_reader_who_is_gone_is_nobodys_error(pipe: tuple[int, int]) -> None:
    writer = LineWriter(pipe[1])
    os.close(pipe[0])
    writer.write("one\n")
    writer.write("two\nthree\n")
    assert writer.wait(10)
    assert writer.dropped == 3


def test_a_full_disk_is_nobodys_error() -> None:
    with Path("/dev/full").open("wb") as full:
        writer = LineWriter(full.fileno())
        writer.write("one\n")
        assert writer.wait(10)
    assert writer.dropped == 1


def test_after_half_a_line_the_next_one_begins_anew(
    pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    really = os.write
    results: Iterator[int | OSError] = iter([3, OSError(28, "No space left on device")])

    def write(descriptor: int, data: bytes) -> int:
        result = next(results, len(data))
        if isinstance(result, OSError):
            raise result
        return really(descriptor, data[:result])

    monkeypatch.setattr(os, "write", write)
    writer = LineWriter(pipe[1])
    writer.write("first\n")
    assert writer.wait(10)
    writer.write("second\n")
    assert writer.wait(10)
    assert os.read(pipe[0], 100) == b"fir\nsecond\n"
    assert writer.dropped == 1


def test_a_descriptor_that_does_not_block_loses_nothing(pipe: tuple[int, int]) -> None:
    os.set_blocking(pipe[1], False)
    writer = LineWriter(pipe[1])
    for _ in range(1000):
        writer.write("x" * 999 + "\n")
    assert (drained(pipe[0], writer), writer.dropped) == (1_000_000, 0)


def drained(end: int, writer: LineWriter) -> int:
    """How many bytes there were, once all of them are read."""
    taken, written = 0, False
    os.set_blocking(end, False)
    while True:
        with suppress(BlockingIOError):
            taken += len(os.read(end, 1_000_000))
            continue
        if written:
            return taken
        written = writer.wait(0.01)


PROGRAM = """
import os, sys
from gateway.telemetry.output import stdout
stdout.write("parent\\n")
child = os.fork()
stdout.write("child\\n" if not child else "parent again\\n")
if child:
    os.waitpid(child, 0)
sys.exit(0)
"""


def test_a_child_process_writes_its_own_lines_and_the_last_ones_come_out_at_the_end() -> None:
    done = run([sys.executable, "-c", PROGRAM], stdout=PIPE, check=True, timeout=60)
    assert sorted(done.stdout.decode().splitlines()) == ["child", "parent", "parent again"]


BLOCKED = """
import sys
from gateway.telemetry.output import stdout
for _ in range(1000):
    stdout.write("x" * 999 + "\\n")
print("ends", file=sys.stderr)
"""


def test_a_process_ends_although_nobody_reads_what_it_says(pipe: tuple[int, int]) -> None:
    done = run([sys.executable, "-c", BLOCKED], stdout=pipe[1], stderr=PIPE, check=True, timeout=60)
    assert done.stderr == b"ends\n"


def test_what_is_no_text_is_written_all_the_same(pipe: tuple[int, int]) -> None:
    writer = LineWriter(pipe[1])
    writer.write("\ud83d\n")
    assert writer.wait(10)
    wait_until(lambda: os.read(pipe[0], 100) == b"\\ud83d\n", 10, "the line is there")

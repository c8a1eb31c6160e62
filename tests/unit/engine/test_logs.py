import errno
import json
import logging
import os
import threading
from collections.abc import Iterator

import pytest
from prometheus_client import Counter

from engine.telemetry import logs


def report(lines: int) -> str:
    return json.dumps({"event": "log_lines_dropped", "lines": lines})


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        try:
            os.close(end)
        except OSError:
            continue


class Written:
    """A logger whose lines go to a descriptor."""

    def __init__(self, descriptor: int, size: int = 10) -> None:
        self._dropped = Counter("dropped", "of this test", registry=None)
        self.log = logs.LogQueue(descriptor, logging.Formatter("%(message)s"), report, self._dropped, size)
        self.logger = logging.Logger("test")
        self.logger.addHandler(self.log.handler)

    def write(self, count: int, line: str = "x" * 10_000) -> None:
        for _ in range(count):
            self.logger.info(line)

    @property
    def dropped(self) -> int:
        return logs.counter_value(self._dropped)


def read(descriptor: int, count: int) -> list[str]:
    data = b""
    while data.count(b"\n") < count:
        data += os.read(descriptor, 65536)
    return data.decode().splitlines()


def test_lines_are_written_in_their_order(pipe: tuple[int, int]) -> None:
    own = Written(pipe[1])
    for number in range(5):
        own.logger.info("line %d", number)
    own.log.flush()
    assert read(pipe[0], 5) == [f"line {number}" for number in range(5)]


def test_a_reader_that_does_not_read_costs_lines_and_nothing_else(pipe: tuple[int, int]) -> None:
    own = Written(pipe[1])
    own.write(100)
    lost = own.dropped
    assert 0 < lost < 100
    # The end waits for a while, and no longer.
    own.log.flush(0.05)
    # Once somebody reads again, what is still there comes, and the word of what is missing.
    lines = read(pipe[0], 100 - lost)
    while (said := sum(json.loads(line)["lines"] for line in lines if "dropped" in line)) < lost:
        lines += read(pipe[0], 1)
    assert said == lost


def test_a_reader_that_is_gone_costs_lines_and_nothing_else(pipe: tuple[int, int]) -> None:
    own = Written(pipe[1])
    os.close(pipe[0])
    own.write(5)
    own.log.flush()
    assert own.dropped == 5


def test_a_full_disk_costs_lines_and_nothing_else() -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    own = Written(full)
    own.write(1)
    own.log.flush()
    assert own.dropped == 1
    os.close(full)


def test_a_line_that_was_cut_off_is_not_the_beginning_of_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    written = b""
    answers: Iterator[int] = iter([3, -1, 100, 100])

    def write(_: int, data: bytes) -> int:
        nonlocal written
        room = next(answers)
        if room < 0:
            raise OSError(errno.ENOSPC, "full")
        written += data[:room]
        return min(room, len(data))

    own = Written(-1)
    monkeypatch.setattr("engine.telemetry.logs.os.write", write)
    own.write(1, "first")
    own.write(1, "second")
    own.log.flush()
    assert written.decode().splitlines() == ["fir", "second", report(1)]


def test_a_pipe_that_does_not_block_is_waited_for(pipe: tuple[int, int]) -> None:
    os.set_blocking(pipe[1], False)
    own = Written(pipe[1], size=1000)
    own.write(50)
    own.write(1, "the end")
    assert read(pipe[0], 51)[-1] == "the end"
    assert own.dropped == 0


def test_shutting_logging_down_does_not_wait_for_a_write(pipe: tuple[int, int]) -> None:
    own = Written(pipe[1])
    own.write(100)
    own.log.flush(0.01)
    shutdown = threading.Thread(target=logging.shutdown, daemon=True)
    shutdown.start()
    shutdown.join(5)
    assert not shutdown.is_alive()
    # The writer of this test shall not wait for ever.
    read(pipe[0], 101 - own.dropped)

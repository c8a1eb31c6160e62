"""Counting goes on without room and without descriptors, and what was counted is in the file afterwards."""

import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from prometheus_client.mmap_dict import MmapedDict

from gateway.telemetry import mapped
from gateway.telemetry.mapped import CountFile


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mapped, "RETRY_SECONDS", 0.0)


def key(number: int) -> str:
    return f'["name", "name", {{"number": "{number}"}}, "{"x" * 200}"]'


def in_file(path: Path) -> dict[str, float]:
    entries = MmapedDict.read_all_values_from_file(str(path))  # type: ignore[no-untyped-call]
    return {name.rstrip(): value for name, value, _, _ in entries}


@contextmanager
def no_room(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As on a full file system."""

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "posix_fallocate", full)
        yield


@contextmanager
def no_descriptors() -> Iterator[None]:
    """Until the end, no file can be opened or mapped."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(int(name) for name in os.listdir("/proc/self/fd"))
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 1, limits[1]))
    taken = []
    try:
        while True:
            try:
                taken.append(os.open("/dev/null", os.O_RDONLY))
            except OSError:
                break
        yield
    finally:
        for descriptor in taken:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_it_counts_in_its_file_and_grows(tmp_path: Path) -> None:
    path = tmp_path / "counter_0.db"
    counts = CountFile(str(path))
    for number in range(1000):
        assert counts.read_value(key(number)) == (0.0, 0.0)
        counts.write_value(key(number), float(number), 0.0)
    assert in_file(path) == {key(number): number for number in range(1000)}
    counts.close()
    assert CountFile(str(path)).read_value(key(999)) == (999.0, 0.0)


def test_what_finds_no_room_is_counted_in_memory_until_there_is_some(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "counter_0.db"
    with no_room(monkeypatch):
        counts = CountFile(str(path))
        for number in range(3):
            counts.write_value(key(number), 1.0, 0.0)
        counts.write_value(key(1), 2.0, 0.0)
        assert counts.read_value(key(1)) == (2.0, 0.0)
        assert not path.stat().st_size
    counts.write_value(key(0), 5.0, 0.0)
    assert in_file(path) == {key(0): 5.0, key(1): 2.0, key(2): 1.0}


def test_a_file_that_cannot_grow_goes_on_with_what_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "counter_0.db"
    counts = CountFile(str(path))
    counts.write_value(key(0), 1.0, 0.0)
    with no_room(monkeypatch):
        for number in range(1000):
            counts.write_value(key(number), 2.0, 0.0)
        assert 0 < len(in_file(path)) < 1000
        assert path.stat().st_size == mapped.INITIAL_BYTES
    counts.write_value(key(5), 3.0, 0.0)
    counts.write_value(key(1001), 3.0, 0.0)
    assert in_file(path) == {**{key(n): 2.0 for n in range(1000)}, key(5): 3.0, key(1001): 3.0}


def test_a_moment_without_descriptors_breaks_nothing(tmp_path: Path) -> None:
    path = tmp_path / "counter_0.db"
    counts = CountFile(str(path))
    counts.write_value(key(0), 1.0, 0.0)
    with no_descriptors():
        for number in range(1000):
            counts.write_value(key(number), 2.0, 0.0)
        unopened = CountFile(str(tmp_path / "gauge_0.db"))
        unopened.write_value(key(0), 7.0, 0.0)
    unopened.write_value(key(1), 8.0, 0.0)
    counts.write_value(key(1001), 3.0, 0.0)
    assert in_file(path) == {**{key(n): 2.0 for n in range(1000)}, key(1001): 3.0}
    assert in_file(tmp_path / "gauge_0.db") == {key(0): 7.0, key(1): 8.0}


def test_room_is_reserved_before_it_is_used(tmp_path: Path) -> None:
    """What is only promised, as by truncating, ends the process when it is used and is not there."""
    path = tmp_path / "counter_0.db"
    counts = CountFile(str(path))
    for number in range(1000):
        counts.write_value(key(number), 1.0, 0.0)
        status = path.stat()
        assert status.st_blocks * 512 >= status.st_size
    assert status.st_size > mapped.INITIAL_BYTES


def test_the_metrics_count_in_such_files() -> None:
    program = """
from gateway.telemetry import shared
shared.set_up()
from gateway.telemetry.metrics import HEARTBEATS
print(type(HEARTBEATS._value._file).__name__)
shared.clear()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "CountFile\n"

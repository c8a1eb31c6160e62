"""The files in which a worker keeps its counts, safe from a full file system and from missing descriptors.

In the format of prometheus_client's own (mmap_dict.py), and in their place. One of those that cannot grow
goes on as if it had, for good; and a mapped file without room behind it ends the process with SIGBUS. Here
room is reserved before it is used. What finds none is counted in memory until there is some.
"""

import mmap
import os
import struct
import time

# At the beginning of a file: how much of it is used, and four bytes of nothing.
HEADER = 8
INITIAL_BYTES = 64 * 1024

# Between two looks for room.
RETRY_SECONDS = 5.0

# The number, and when it was set.
Value = tuple[float, float]

_length = struct.Struct("i")
_value = struct.Struct("dd")


class CountFile:
    """Values by their keys. The library asks for nothing else of its own class."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._map: mmap.mmap | None = None
        self._used = HEADER
        self._positions: dict[str, int] = {}
        self._homeless: dict[str, Value] = {}
        self._next_look = 0.0

    def read_value(self, key: str) -> Value:
        if key not in self._positions:
            self._look_for_room(key, (0.0, 0.0))
        at = self._positions.get(key)
        if self._map is None or at is None:
            return self._homeless[key]
        value: Value = _value.unpack_from(self._map, at)
        return value

    def write_value(self, key: str, value: float, timestamp: float) -> None:
        at = self._positions.get(key)
        if self._map is not None and at is not None:
            # In one piece, so that nobody reads half of it.
            self._map[at : at + _value.size] = _value.pack(value, timestamp)
        else:
            self._homeless[key] = value, timestamp
            self._look_for_room(key, (value, timestamp))

    def close(self) -> None:
        if self._map is not None:
            self._map.close()
            self._map = None

    def _look_for_room(self, key: str, value: Value) -> None:
        """For everything that has none."""
        self._homeless.setdefault(key, value)
        if time.monotonic() < self._next_look:
            return
        try:
            if self._map is None:
                self._open()
            for waiting, counted in tuple(self._homeless.items()):
                if waiting not in self._positions:
                    self._append(waiting)
                if any(counted):  # otherwise the file may know better, from the worker before
                    self.write_value(waiting, *counted)
                del self._homeless[waiting]
        except OSError:
            self._next_look = time.monotonic() + RETRY_SECONDS

    def _open(self) -> None:
        with open(self._name, "a+b") as file:
            size = max(os.fstat(file.fileno()).st_size, INITIAL_BYTES)
            self._map = _mapped(file.fileno(), size)
        self._used = max(_length.unpack_from(self._map)[0], HEADER)
        at = HEADER
        while at < self._used:
            (length,) = _length.unpack_from(self._map, at)
            start = at + _length.size
            key = self._map[start : start + length].decode()
            self._positions[key] = start + length + _padding(length)
            at = self._positions[key] + _value.size

    def _append(self, key: str) -> None:
        assert self._map is not None
        text = key.encode()
        entry = _length.pack(len(text)) + text + b" " * _padding(len(text)) + _value.pack(0.0, 0.0)
        end = self._used + len(entry)
        if end > len(self._map):
            with open(self._name, "r+b") as file:
                self._map = _mapped(file.fileno(), 2 * len(self._map))
        self._map[self._used : end] = entry
        # Only now: up to here a reader looks.
        self._map[: _length.size] = _length.pack(end)
        self._used = end
        self._positions[key] = end - _value.size


def _mapped(descriptor: int, size: int) -> mmap.mmap:
    os.posix_fallocate(descriptor, 0, size)
    return mmap.mmap(descriptor, size)


def _padding(length: int) -> int:
    """So that the value behind a key of this length begins at a multiple of eight."""
    return 8 - (length + _length.size) % 8

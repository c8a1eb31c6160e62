"""Memory-mapped files of a worker's metrics, robust against a full file system and missing descriptors.

They replace prometheus_client's own (mmap_dict.py) and have the same format. When the original cannot grow a
file, it permanently loses values, and a mapped file without disk space ends the process with SIGBUS. Here
space is reserved before it is used, and values that do not fit are kept in memory until they do.
"""

import mmap
import os
import struct
import time

# File header: the number of bytes in use, and four bytes of padding.
HEADER = 8
INITIAL_BYTES = 64 * 1024

# Between two attempts to reserve space.
RETRY_SECONDS = 5.0

# The value and its timestamp.
Value = tuple[float, float]

_length = struct.Struct("i")
_value = struct.Struct("dd")


class CountFile:
    """Values by key: the part of the library's MmapedDict that it uses."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._map: mmap.mmap | None = None
        self._used = HEADER
        self._positions: dict[str, int] = {}
        self._unstored: dict[str, Value] = {}
        self._next_try = 0.0

    def read_value(self, key: str) -> Value:
        if key not in self._positions:
            self._store(key, (0.0, 0.0))
        at = self._positions.get(key)
        if self._map is None or at is None:
            return self._unstored[key]
        value: Value = _value.unpack_from(self._map, at)
        return value

    def write_value(self, key: str, value: float, timestamp: float) -> None:
        at = self._positions.get(key)
        if self._map is not None and at is not None:
            # A single write, so that a scrape cannot read half of it.
            self._map[at : at + _value.size] = _value.pack(value, timestamp)
        else:
            self._unstored[key] = value, timestamp
            self._store(key, (value, timestamp))

    def close(self) -> None:
        if self._map is not None:
            self._map.close()
            self._map = None

    def _store(self, key: str, value: Value) -> None:
        """Try to move all values from memory into the file."""
        self._unstored.setdefault(key, value)
        if time.monotonic() < self._next_try:
            return
        try:
            if self._map is None:
                self._open()
            for waiting, counted in tuple(self._unstored.items()):
                if waiting not in self._positions:
                    self._append(waiting)
                if any(counted):  # a zero must not overwrite the previous worker's value
                    self.write_value(waiting, *counted)
                del self._unstored[waiting]
        except OSError:
            self._next_try = time.monotonic() + RETRY_SECONDS

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
        # Last, because readers trust this length.
        self._map[: _length.size] = _length.pack(end)
        self._used = end
        self._positions[key] = end - _value.size


def _mapped(descriptor: int, size: int) -> mmap.mmap:
    os.posix_fallocate(descriptor, 0, size)
    return mmap.mmap(descriptor, size)


def _padding(length: int) -> int:
    """Padding after a key of this length, so that its value is aligned to eight bytes."""
    return 8 - (length + _length.size) % 8

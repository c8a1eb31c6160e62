"""Faulty outputs, as descriptors for a program's standard streams."""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager


@contextmanager
def unread() -> Iterator[int]:
    """A pipe that is never read: it blocks after 64 KiB."""
    reading, writing = os.pipe()
    try:
        yield writing
    finally:
        os.close(reading)
        os.close(writing)


@contextmanager
def broken() -> Iterator[int]:
    """A pipe whose reader has closed it."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        yield writing
    finally:
        os.close(writing)


@contextmanager
def full() -> Iterator[int]:
    """A file on a full disk."""
    descriptor = os.open("/dev/full", os.O_WRONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


OUTPUTS: dict[str, Callable[[], AbstractContextManager[int]]] = {
    "it is not read": unread,
    "its reader is gone": broken,
    "its disk is full": full,
}

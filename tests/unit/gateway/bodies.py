"""Requests' bodies, read as the gateway reads them."""

from collections.abc import Generator
from typing import TypeVar

from gateway.ask.fields import Fields, fields_of

Found = TypeVar("Found")


def taken(steps: Generator[None, None, Found]) -> Found:
    """What the steps lead to, all at once."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            found: Found = end.value
            return found


def read_fields(body: bytes) -> Fields:
    return taken(fields_of(body))

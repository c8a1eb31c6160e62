"""When an answer may begin: at once, as long as nothing limits how many run."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ..ask.ask import Ask
from ..streaming.generation import Waiting


class Admission:
    @asynccontextmanager
    async def turn(self, ask: Ask, waiting: Waiting) -> AsyncIterator[None]:
        """Is around the whole answer. Whoever has to wait in here tells `waiting` for what."""
        yield

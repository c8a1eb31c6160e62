"""The whole answers of several servers to one request as one answer."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from ..errors import GatewayError, ModelNotFound
from .backend import Backend
from .change import Change, Groups, combined, outcome_of, worded
from .client import UpstreamAnswer
from .response_body import Sink


class Gathered:
    """The whole answers of all servers as one, which is the first one's."""

    def __init__(self) -> None:
        self.status = 200
        self.media_type = ""
        self._body = b""

    @staticmethod
    @asynccontextmanager
    async def of(groups: Groups, change: Change) -> AsyncIterator["Gathered"]:
        """When all have answered. Raises GatewayError if one has failed, but not if it has no such model,
        unless none has it.
        """
        failures: dict[str, GatewayError] = {}
        answers: list[Gathered] = []

        async def ask(group: Sequence[Backend]) -> None:
            for backend in group:
                answer = Gathered()
                if failure := await outcome_of(backend, answer._read(backend, change)):
                    failures[backend.name] = failure
                else:
                    answers.append(answer)

        await asyncio.gather(*(ask(group) for group in groups))
        others = {
            name: failure for name, failure in failures.items() if not isinstance(failure, ModelNotFound)
        }
        if others:
            raise combined(groups, others)
        if not answers:
            missing = next(iter(failures.values()))
            raise worded(missing, missing.message)
        yield answers[0]

    async def _read(self, backend: Backend, change: Change) -> None:
        body = bytearray()

        def opened(answer: UpstreamAnswer) -> None:
            self.status, self.media_type = answer.status, answer.media_type

        await change.make(backend, opened, body.extend)
        self._body = bytes(body)

    async def stream_into(self, sink: Sink) -> None:
        body, self._body = self._body, b""
        if body and (awaited := sink(body)):
            await awaited

    def stop(self) -> None:
        """Nothing is left to be read."""

    def discard(self) -> None:
        """Nothing is left to be read."""

"""A fake Ollama that has to load its models, and gives a load up when whoever caused it disconnects."""

import asyncio
import json
from collections.abc import Sequence

from .ollama import Answer, FakeOllama, Received, Step, model_of


class LoadingOllama(FakeOllama):
    """A load takes `seconds`, and fails with the words `failure` if there are any. One runs at a time.
    `begun` has the model of each, `given_up` those of loads that were given up.
    """

    def __init__(self, seconds: float, failure: str = "") -> None:
        super().__init__()
        self.seconds = seconds
        self.failure = failure
        self.begun: list[str] = []
        self.given_up: list[str] = []
        self._one_at_a_time = asyncio.Lock()

    async def _steps(self, answer: Answer, received: Received, writer: asyncio.StreamWriter) -> None:
        """Cancelled when the client disconnects."""
        model, _ = model_of(received)
        async with self._one_at_a_time:
            failed = await self._load(model or "")
        await super()._steps(Answer(failed, 500) if failed else answer, received, writer)

    async def _load(self, model: str) -> Sequence[Step]:
        """The error, if it fails."""
        if model not in (loaded["name"] for loaded in self.loaded):
            self.begun.append(model)
            try:
                await asyncio.sleep(self.seconds)
            except asyncio.CancelledError:
                self.given_up.append(model)
                raise
            if self.failure:
                return [json.dumps({"error": self.failure}).encode()]
            self.loaded.append({"name": model})
        return []

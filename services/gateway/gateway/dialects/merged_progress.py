"""The progress of one pull by several servers, as the progress that a single server would report.

Clients draw a bar for each digest, as large as its first `total`; Ollama downloads one layer after the other.
So `completed` is the mean of the servers', and a layer follows once every server has the one before it.
"""

import json
from collections.abc import Iterable
from typing import Any

from ..errors import UpstreamFailed
from .decoding import message_of, parsed
from .splitter import LINE

SUCCESS = "success"


class Step:
    """What a server reports under the same digest or, without one, status. `total` is 0 without a digest."""

    def __init__(self, number: int, fields: dict[str, Any]) -> None:
        self.number = number
        self.fields = fields
        self.total = 0
        self.completed: dict[str, int] = {}
        self.mean = 0
        self.sent = b""


class MergedProgress:
    """Progress of the servers with these names."""

    def __init__(self, servers: Iterable[str]) -> None:
        # The number of each server's latest step, of those that have not failed.
        self._at = dict.fromkeys(servers, -1)
        self._unfinished = set(self._at)
        self._steps: dict[str, Step] = {}

    def take(self, server: str, line: bytes) -> bool:
        """Process a line from a server; returns whether it is the one that reports success.

        Raises UpstreamFailed if the line reports a failure or is not an object.
        """
        fields = parsed(line)
        if fields is None:
            raise UpstreamFailed("upstream sent a line that is not a JSON object in UTF-8")
        if fields.get("error") is not None:
            raise UpstreamFailed(message_of(fields["error"]))
        if fields.get("status") == SUCCESS:
            return True
        digest = fields.get("digest")
        step = self._step(str(digest or fields.get("status")), fields)
        if digest:
            step.total = max(step.total, _count(fields.get("total")))
            step.completed[server] = _count(fields.get("completed"))
        self._at[server] = step.number
        return False

    def succeeded(self, server: str) -> None:
        """A server has reported success and has ended."""
        self._unfinished.discard(server)
        self._at[server] = len(self._steps)
        if self._at and not self._unfinished:
            self._step(SUCCESS, {"status": SUCCESS})

    def failed(self, server: str) -> None:
        """A server's share no longer counts; there will be no success."""
        del self._at[server]

    def news(self) -> bytes:
        """The lines that the client has not been sent."""
        lines = []
        for step in self._steps.values():
            line = self._line(step)
            if line != step.sent:
                step.sent = line
                lines.append(line)
            if step.mean < step.total:
                break
        return b"".join(lines)

    def _step(self, key: str, fields: dict[str, Any]) -> Step:
        if key not in self._steps:
            self._steps[key] = Step(len(self._steps), fields)
        return self._steps[key]

    def _line(self, step: Step) -> bytes:
        fields = step.fields
        if step.total:
            if self._at:
                # Never less than before, even if a server has failed that was ahead of the others.
                completed = sum(self._completed(step, server) for server in self._at) // len(self._at)
                step.mean = max(step.mean, completed)
            fields = {**fields, "total": step.total, "completed": step.mean}
        return json.dumps(fields, separators=(",", ":")).encode() + LINE

    def _completed(self, step: Step, server: str) -> int:
        if self._at[server] > step.number:
            return step.total
        return min(step.completed.get(server, 0), step.total)


def _count(value: object) -> int:
    return value if isinstance(value, int) and value > 0 else 0

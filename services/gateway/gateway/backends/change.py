"""A request that changes the models of several servers: how each gets it, and how they fail together."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import NamedTuple

import structlog

from ..errors import GatewayError, InternalError, UpstreamRefused, UpstreamTimeout
from .backend import Backend
from .client import UpstreamAnswer
from .response_body import Sink

# The servers behind one name may share a disk, on which two changes at once would harm each other.
Groups = Sequence[Sequence[Backend]]


class Change(NamedTuple):
    """The request. A server that is silent for `silence` seconds has failed."""

    method: str
    path: str
    body: bytes
    headers: Mapping[str, str]
    silence: float

    async def make(self, backend: Backend, opened: Callable[[UpstreamAnswer], None], take: Sink) -> None:
        """Send it to one server, and give `take` the bytes of the answer. Raises GatewayError."""
        if not backend.up:
            await backend.refresh()  # fails soon, also if the server accepts connections and is silent
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self.silence) as limit:

                def took(data: bytes) -> Awaitable[None] | None:
                    limit.reschedule(loop.time() + self.silence)  # noqa: F821  # it is deleted later
                    return take(data)

                try:
                    async with backend.change(self.method, self.path, self.body, self.headers) as answer:
                        opened(answer)
                        await answer.stream_into(took)
                    return
                finally:
                    del limit  # it references this task, and its CancelledError this frame: a cycle
        except TimeoutError:
            pass
        # Not within `except`: the TimeoutError would stay the context of this error, a reference cycle.
        raise UpstreamTimeout("the model server was silent for too long")


async def outcome_of(backend: Backend, change: Awaitable[None]) -> GatewayError | None:
    """How a server has failed, None if it has not."""
    try:
        await change
    except GatewayError as error:
        return error.with_traceback(None)  # it references this frame: a cycle
    except Exception:  # a defect at one server must not end the request at the others
        structlog.get_logger().exception("unhandled_exception", backend=backend.name)
        return InternalError()
    return None


def combined(groups: Groups, failures: Mapping[str, GatewayError]) -> GatewayError:
    """The failures of servers, by name, as one that names them. It is a refusal only if all of them are."""
    names = [backend.name for group in groups for backend in group if backend.name in failures]
    servers: dict[str, list[str]] = {}
    for name in names:
        servers.setdefault(failures[name].message, []).append(name)
    message = "; ".join(f"{', '.join(alike)}: {reason}" for reason, alike in servers.items())
    found = [failures[name] for name in names]
    first = next((failure for failure in found if not isinstance(failure, UpstreamRefused)), found[0])
    return worded(first, message)


def worded(failure: GatewayError, message: str) -> GatewayError:
    """A new error like `failure`, with another message."""
    error = InternalError() if isinstance(failure, InternalError) else type(failure)(message)
    # The constructor takes some servers' names for private addresses.
    error.message, error.status = message, failure.status
    if failure.upstream:
        error.upstream = failure.upstream[0], json.dumps({"error": message}).encode()
    return error

"""Requests that manage models: the servers that each is for, and its answer."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from ..ask.ask import Ask
from ..ask.waiting import Waiting
from ..errors import InvalidRequest
from ..settings import Settings
from .change import Change, Groups
from .client import UpstreamAnswer
from .gathered import Gathered
from .group import Group
from .merged import Merged

# Requests for all servers, unless they name one.
FOR_ALL = frozenset({"/api/pull", "/api/delete"})

# Of GATEWAY_MANAGE_TIMEOUT, so that a silent server is named before the whole answer is silent for too long.
SHARE_OF_SILENCE = 0.95

MAX_SHOWN_NAME = 100

Answer = UpstreamAnswer | Merged | Gathered


@asynccontextmanager
async def managed(
    groups: Iterable[Group], ask: Ask, waiting: Waiting, settings: Settings
) -> AsyncIterator[Answer]:
    """The answer of all servers that the request is for. Raises GatewayError."""
    chosen = _chosen([list(group.backends) for group in groups], ask)
    waiting.asked(", ".join(backend.name for group in chosen for backend in group))
    route = ask.route
    if len(chosen) == len(chosen[0]) == 1:
        async with chosen[0][0].change(route.method, ask.path, ask.body, ask.headers) as own:
            yield own
        return
    assert isinstance(ask.body, bytes)
    silence = settings.manage_timeout * SHARE_OF_SILENCE
    change = Change(route.method, ask.path, ask.body, ask.headers, silence)
    if ask.streams:
        async with Merged(chosen, change, settings.max_line_bytes).answers() as merged:
            yield merged
    else:
        async with Gathered.of(chosen, change) as gathered:
            yield gathered


def _chosen(groups: Groups, ask: Ask) -> Groups:
    """The servers that the request is for. Raises InvalidRequest."""
    every = {backend.name: backend for group in groups for backend in group}
    if ask.server is not None:
        if ask.server in every:
            return [[every[ask.server]]]
        shown = ask.server[:MAX_SHOWN_NAME]
        raise InvalidRequest(f"X-Backend: no model server is called '{shown}'; there is {_either(every)}")
    if len(every) > 1 and ask.route.path not in FOR_ALL:
        raise InvalidRequest(
            f"there are several model servers; name one in the header X-Backend: {_either(every)}"
        )
    return groups


def _either(names: Iterable[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} or {last}" if others else last

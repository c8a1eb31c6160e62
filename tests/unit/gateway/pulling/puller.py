"""A pull in this process, and what it logs."""

import asyncio
from collections.abc import MutableMapping
from dataclasses import replace
from typing import Any

import structlog
from structlog.testing import capture_logs

from gateway.backends.client import Upstream
from gateway.commands.pull.pull import Pace, Puller
from tests.unit.gateway.pulling.ollama import PullingOllama

PATIENT = Pace(poll=0.001, report=0, stall=30, settle=30, first_delay=0.001, longest_delay=0.02)
QUICK = replace(PATIENT, stall=0.2, settle=0.4)
Lines = list[MutableMapping[str, Any]]


def puller(upstream: Upstream, names: tuple[str, ...], pace: Pace) -> Puller:
    return Puller(upstream, names, pace, structlog.get_logger(), asyncio.Lock())


async def pull(ollama: PullingOllama, *names: str, pace: Pace = PATIENT) -> tuple[dict[str, str], Lines]:
    """What was refused, and what was logged."""
    upstream = Upstream(ollama.url, 3)
    with capture_logs() as lines:
        refused = await asyncio.wait_for(puller(upstream, names, pace).run(), 10)
    await upstream.aclose()
    return refused, lines


def events(lines: Lines, event: str) -> Lines:
    return [line for line in lines if line["event"] == event]

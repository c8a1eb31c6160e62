"""What one worker shares among its requests."""

import asyncio
from typing import cast

import structlog
from opentelemetry.trace import Tracer
from starlette.requests import Request

from .access.egress import Egress
from .access.keyring import Keyring
from .backends.backend import Backend
from .backends.gauges import Scrape
from .errors import Drained
from .settings import Settings
from .streaming.relay import Relay
from .streaming.turnstile import Turnstiles
from .telemetry.audit import Audit
from .telemetry.loop_watch import LoopWatch
from .telemetry.metrics import AUDIT_LOST, AUDIT_WAITING, LOG_LINES_DROPPED, TASKS
from .telemetry.output import stdout
from .telemetry.record import RequestRecord

# Between the terminal events of a drain and uvicorn's own limit, so that the events still get out.
DRAIN_MARGIN = 1.0

# How old what is told of running streams may be. An alert for streams that do not move waits longer.
COUNT_SECONDS = 5


class State:
    """Made in the lifespan, one a worker."""

    def __init__(self, settings: Settings, backend: Backend, keyring: Keyring, tracer: Tracer) -> None:
        self.settings = settings
        # Ollama reads all of a large model without a word when it has pulled it, or makes another one of it.
        silence = {"first_byte_timeout": settings.manage_timeout, "idle_timeout": settings.manage_timeout}
        self.managing = settings.model_copy(update=silence)
        self.backend = backend
        self.keyring = keyring
        self.egress = Egress(settings)
        self.loop_watch = LoopWatch()
        self.scrape = Scrape(settings, [backend], keyring, self.loop_watch)
        self.tracer = tracer
        self.audit = Audit(settings)
        self.streams: set[Relay] = set()
        self.turnstiles = Turnstiles()
        self.draining = False
        # What the metrics have of what only ever grows.
        self._dropped = self._audit_lost = 0

    def drain(self) -> None:
        """Refuses new work from now on, and ends the streams that still run when the grace is over."""
        self.draining = True
        asyncio.get_running_loop().call_later(self.settings.grace - DRAIN_MARGIN, self._end_streams)

    def count(self) -> None:
        """Brings the metrics of what is still going on up to date."""
        TASKS.set(len(asyncio.all_tasks()))
        self._count_lines()
        for stream in self.streams:
            stream.count_chunks()

    async def keep_counting(self) -> None:
        """For ever: a scrape brings up to date only the worker that answers it."""
        while True:
            self.count()
            await asyncio.sleep(COUNT_SECONDS)

    def _count_lines(self) -> None:
        AUDIT_WAITING.set(self.audit.waiting)
        AUDIT_LOST.inc(self.audit.lost - self._audit_lost)
        self._audit_lost = self.audit.lost
        if dropped := stdout.dropped - self._dropped:
            LOG_LINES_DROPPED.inc(dropped)
            self._dropped += dropped
            structlog.get_logger().warning("log_lines_dropped", lines=dropped)

    def _end_streams(self) -> None:
        for stream in tuple(self.streams):
            stream.stop(Drained("the gateway is restarting; send the request again"))


def state_of(request: Request) -> State:
    return cast(State, request.state.gateway)


def record_of(request: Request) -> RequestRecord:
    return cast(RequestRecord, request.state.record)

"""State of one worker, shared by its requests."""

import asyncio
from typing import TYPE_CHECKING, cast

import structlog
from opentelemetry.trace import Tracer
from starlette.requests import Request

from .access.caller import Caller
from .access.guard import Guard
from .access.keyring import Keyring
from .access.roles import RouteClass
from .admission.accounts import Accounts, MemoryAccounts, always
from .admission.admission import Admission
from .admission.estimates import Estimates
from .admission.gauges import Gauges
from .admission.ledger import Ledger
from .admission.limits import RateLimiter
from .admission.listing import Listing, listed, merged, stop
from .admission.memory import MemoryLedger
from .admission.schedule import Bounds
from .admission.slots import Slots
from .answers.shelf import Shelf
from .ask.reading import Reader
from .backends.gauges import Scrape
from .backends.pool import Pool
from .errors import Drained
from .garbage import Collector
from .policy.policy import Policy
from .settings import Settings
from .shared_url import find_shared_url
from .streaming.generation import Generation
from .telemetry.audit import Audit
from .telemetry.loop_watch import LoopWatch
from .telemetry.metrics import AUDIT_LOST, AUDIT_WAITING, LOG_LINES_DROPPED, OLDEST_ANSWER, TASKS
from .telemetry.output import stdout
from .telemetry.record import RequestRecord
from .turnstile import Turnstiles

if TYPE_CHECKING:
    from .shared.sharing import Sharing

# Time between the terminal events of a drain and uvicorn's own limit, to deliver the events.
DRAIN_MARGIN = 1.0

KEPT_COMMIT_SECONDS = 0.05

# Longest age of the metrics of running streams. The alert for stalled streams waits longer.
COUNT_SECONDS = 5


class State:
    """Created in the lifespan, one per worker."""

    def __init__(self, settings: Settings, pool: Pool, keyring: Keyring, tracer: Tracer) -> None:
        self.settings = settings
        # Ollama is silent while it verifies a large model after a pull, or creates another one from it.
        silence = {"first_byte_timeout": settings.manage_timeout, "idle_timeout": settings.manage_timeout}
        self.managing = settings.model_copy(update={**silence, "max_answer_seconds": 0})
        # Whoever asks for an answer that is kept has to know its address, before the first token.
        commit = min(settings.early_commit, KEPT_COMMIT_SECONDS)
        self.keeping = settings.model_copy(update={"early_commit": commit})
        self.pool = pool
        self.keyring = keyring
        self.policy = Policy(settings, pool)
        self.reader = Reader(settings, pool)
        estimates = Estimates()
        bounds = Bounds(
            settings.queue, settings.queue_per_caller, settings.queue_timeout, settings.swap_patience
        )
        self.sharing = _sharing(settings, pool, estimates, bounds)
        self.shelf = self.sharing.shelf if self.sharing else Shelf(settings)
        self.ledger: Ledger
        accounts: Accounts
        if self.sharing:
            self.ledger, accounts = self.sharing.ledger, self.sharing.accounts
            self.sharing.questions.answer("queue", lambda identity: listed(self.ledger.turns(), identity))
            self.sharing.questions.answer("stop", lambda asked: stop(self.ledger.turns(), *asked))
        else:
            slots = Slots(pool, settings.workers, settings.affinity_slack)
            self.ledger = MemoryLedger(slots, estimates, bounds.share(settings.workers))
            accounts = MemoryAccounts(workers=always(settings.workers))
        pool.when_changed = self.ledger.advance
        self._slot_gauges = Gauges(self.ledger, pool)
        self.limiter = RateLimiter(accounts, estimates)
        self.admission = Admission(self.policy, self.limiter, pool, self.ledger, estimates)
        self.loop_watch = LoopWatch()
        self.scrape = Scrape(settings, lambda: pool.backends, keyring, self.loop_watch)
        self.tracer = tracer
        # Bound once: binding for each request costs as much as writing the line.
        self.log = structlog.get_logger().bind()
        self.audit = Audit(settings)
        self.generations: set[Generation] = set()
        self.turnstiles = Turnstiles()
        self.draining = False
        self._collector = Collector()
        self._guard = Guard(settings, keyring, self.audit)
        # Values of the growing counts at the last update of the metrics.
        self._dropped = self._audit_lost = 0

    def caller(self, request: Request, kind: RouteClass) -> Caller:
        """As `Guard.caller`, for requests that are refused while draining. Also raises Drained."""
        if self.draining:
            raise Drained()
        return self.identify(request, kind)

    def identify(self, request: Request, kind: RouteClass) -> Caller:
        """As `Guard.caller`, for requests that are also answered while draining."""
        return self._guard.caller(request, kind)

    def drain(self) -> None:
        """Refuse new requests, and end streams that still run when the grace period is over."""
        self.draining = True
        self.shelf.drain()
        asyncio.get_running_loop().call_later(self.settings.grace - DRAIN_MARGIN, self._end_answers)

    def count(self) -> None:
        """Update the metrics of running streams and of the log."""
        TASKS.set(len(asyncio.all_tasks()))
        self._slot_gauges.update()
        self._count_lines()
        self.shelf.count()
        OLDEST_ANSWER.set(max((generation.seconds for generation in self.generations), default=0))
        for generation in self.generations:
            generation.count_chunks()

    async def queue(self, identity: str | None) -> Listing:
        """What runs and waits at all gateways, as `listed`."""
        own = listed(self.ledger.turns(), identity)
        others = await self.sharing.questions.ask("queue", identity) if self.sharing else []
        return merged([own, *others]) if others else own

    async def stop(self, request_id: str, identity: str | None, by: str) -> int:
        """End a request at whatever gateway, as `admission.listing.stop`."""
        others = await self.sharing.questions.ask("stop", [request_id, identity, by]) if self.sharing else []
        return sum([stop(self.ledger.turns(), request_id, identity, by), *others])

    async def update_metrics(self) -> None:
        """Update the metrics until cancelled: a scrape updates only the worker that answers it."""
        while True:
            self.count()
            self.ledger.advance()  # somebody's patience may be over
            if self.generations:
                self._collector.while_busy()
            else:
                self._collector.while_idle()
            await asyncio.sleep(COUNT_SECONDS)

    def _count_lines(self) -> None:
        AUDIT_WAITING.set(self.audit.waiting)
        AUDIT_LOST.inc(self.audit.lost - self._audit_lost)
        self._audit_lost = self.audit.lost
        if dropped := stdout.dropped - self._dropped:
            LOG_LINES_DROPPED.inc(dropped)
            self._dropped += dropped
            structlog.get_logger().warning("log_lines_dropped", lines=dropped)

    def _end_answers(self) -> None:
        for generation in tuple(self.generations):
            generation.stop(Drained())
        self.shelf.dismiss()


def _sharing(settings: Settings, pool: Pool, estimates: Estimates, bounds: Bounds) -> "Sharing | None":
    url = find_shared_url(settings.shared_url, settings.shared_url_file)
    if not url:
        return None
    from .shared.sharing import Sharing  # with the client, which others need not load

    return Sharing(url, settings, pool, estimates, bounds)


def state_of(request: Request) -> State:
    return cast(State, request.state.gateway)


def record_of(request: Request) -> RequestRecord:
    return cast(RequestRecord, request.state.record)

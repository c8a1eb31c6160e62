"""The end of a request: its record is settled, and its trace ended."""

from starlette.types import Scope
from structlog.typing import FilteringBoundLogger

from .audit import Audit
from .record import RequestRecord
from .tracing import RequestTrace


def settle(scope: Scope, log: FilteringBoundLogger, audit: Audit) -> None:
    """Called exactly once for each request, with the scope in which the middleware has put its record."""
    record: RequestRecord = scope["state"]["record"]
    trace: RequestTrace = scope["state"]["trace"]
    record.route = getattr(scope.get("route"), "path", record.route)
    record.settle(log, audit)
    trace.end()

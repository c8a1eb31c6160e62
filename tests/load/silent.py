"""A gunicorn configuration for a gateway without metrics and logs, the baseline for `make telemetry`."""

import runpy
from collections import deque
from typing import Any

from gateway.cli import GUNICORN_CONFIG

shipped = runpy.run_path(str(GUNICORN_CONFIG))
globals().update({name: value for name, value in shipped.items() if not name.startswith("_")})


def post_fork(arbiter: Any, worker: Any) -> None:
    shipped["post_fork"](arbiter, worker)

    from gateway.telemetry import metrics
    from gateway.telemetry.record import RequestRecord

    def nothing(*_: object) -> None:
        pass

    def first_chunk(record: RequestRecord) -> None:
        record.first_chunk_after = 0.0  # the relay checks whether there was one

    def forgetful(gaps: metrics.Gaps) -> None:
        setattr(gaps, "arrivals", deque(maxlen=0))  # noqa: B010 - accepts and discards everything

    silenced: dict[object, tuple[str, ...]] = {
        RequestRecord: ("asked", "first_chunk_sent", "count_chunks", "settle"),
        metrics.IN_FLIGHT.labels("stream"): ("inc", "dec"),
        metrics.TASKS: ("set",),
    }
    for owner, methods in silenced.items():
        for method in methods:
            setattr(owner, method, nothing)
    setattr(RequestRecord, "first_chunk", first_chunk)  # noqa: B010 - a plain one mypy does not allow
    setattr(metrics.Gaps, "__init__", forgetful)  # noqa: B010 - mypy allows no assignment

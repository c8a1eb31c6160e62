"""gunicorn.conf.py, for a gateway that measures and logs nothing: what the other one is compared with."""

import runpy
from typing import Any

from gateway.cli import GUNICORN_CONFIG

shipped = runpy.run_path(str(GUNICORN_CONFIG))
globals().update({name: value for name, value in shipped.items() if not name.startswith("_")})


def post_fork(arbiter: Any, worker: Any) -> None:
    shipped["post_fork"](arbiter, worker)

    from gateway import relay
    from gateway.telemetry import metrics
    from gateway.telemetry.record import RequestRecord

    def nothing(*_: object) -> None:
        pass

    def first_chunk(record: RequestRecord) -> None:
        record.first_chunk_after = 0.0  # the relay asks whether there was one

    metrics.Gaps.chunk = nothing  # type: ignore[method-assign]
    RequestRecord.first_chunk = first_chunk  # type: ignore[method-assign]
    for method in ("asked", "handed_on", "count_chunks", "settle"):
        setattr(RequestRecord, method, nothing)
    for gauge in (relay.IN_FLIGHT, metrics.TASKS):
        gauge.inc = gauge.dec = gauge.set = nothing  # type: ignore[method-assign]

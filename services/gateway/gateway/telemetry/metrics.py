"""Every number that requests leave behind. What is asked for at the moment of a scrape is in gauges.py.

Names are those of OpenTelemetry's GenAI conventions where they have one. Labels are bounded: a model that the
backend has, else "other"; a route's template, never a path; nothing that a user wrote.
"""

from bisect import bisect_right
from functools import lru_cache
from math import inf
from operator import sub
from typing import TypeVar

from prometheus_client import Counter, Gauge, Histogram, disable_created_metrics, values

from . import shared
from .mapped import CountFile

# A second series for each one, which nothing here reads.
disable_created_metrics()  # type: ignore[no-untyped-call]

if shared.folder():
    values.MmapedDict = CountFile  # type: ignore[assignment, attr-defined]
    # A file a place instead of one a process: it goes on counting in the file of the worker it replaces.
    values.ValueClass = values.MultiProcessValue(shared.place)  # type: ignore[no-untyped-call]

# Up to minutes, because a cold load takes them.
LONG = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 80, 160, 320, 640)
# From a small model on a GPU to a large one on a CPU, and then what is a stall.
GAPS = (0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1, 2.5, 5, 10, 40, 120)
SHORT = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25)
TOKENS = (1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576)

Metric = TypeVar("Metric", Counter, Gauge, Histogram)

OPERATION, MODEL = "gen_ai_operation_name", "gen_ai_request_model"

REQUESTS = Counter("gateway_requests_total", "Finished requests.", ["route", "model", "outcome", "status"])
IN_FLIGHT = Gauge(
    "gateway_requests_in_flight",
    "Requests for a model's answer that are not finished.",
    ["answer"],
    multiprocess_mode="livesum",
)
# So that each is 0 before the first one.
IN_FLIGHT.labels("stream")
IN_FLIGHT.labels("whole")
TASKS = Gauge(
    "gateway_tasks",
    "Tasks of the event loop; two or three a running stream, and a few that stay.",
    multiprocess_mode="livesum",
)
TIME_TO_FIRST_CHUNK = Histogram(
    "gen_ai_client_operation_time_to_first_chunk_seconds",
    "From the arrival of a request that streams to its first chunk.",
    [OPERATION, MODEL, "load"],
    buckets=LONG,
)
TIME_PER_OUTPUT_CHUNK = Histogram(
    "gen_ai_client_operation_time_per_output_chunk_seconds",
    "Between two chunks of a stream.",
    [OPERATION, MODEL],
    buckets=GAPS,
)
DURATION = Histogram(
    "gen_ai_client_operation_duration_seconds",
    "From the arrival of a request for a model's answer to its end.",
    [OPERATION, MODEL, "outcome"],
    buckets=LONG,
)
TOKEN_USAGE = Histogram(
    "gen_ai_client_token_usage",
    "Tokens of a request, as the model server reports them.",
    [OPERATION, MODEL, "gen_ai_token_type"],
    buckets=TOKENS,
)
TOKENS_TOTAL = Counter(
    "gateway_tokens_total",
    "Tokens; counted are the chunks of streams for which none were reported.",
    ["model", "type", "source"],
)
CHUNKS = Counter("gateway_chunks_total", "Chunks sent, also of streams that still run.", ["model"])
OVERHEAD = Histogram(
    "gateway_overhead_seconds",
    "What the gateway itself takes, before upstream is asked and after its first byte.",
    ["phase"],
    buckets=SHORT,
)
UPSTREAM_PHASE = Histogram(
    "gateway_upstream_phase_seconds",
    "What the model server says its time went into; waiting is what it does not say.",
    ["model", "phase"],
    buckets=LONG,
)
HEARTBEATS = Counter("gateway_heartbeats_total", "Signs of life sent to clients that waited.")
REFUSED_CONNECTIONS = Counter(
    "gateway_refused_connections_total", "Connections refused since no more can be open."
)
LOG_LINES_DROPPED = Counter("gateway_log_lines_dropped_total", "Lines of the log that could not be written.")
AUDIT_WAITING = Gauge(
    "gateway_audit_lines_waiting",
    "Lines about who has managed models that are not written yet.",
    multiprocess_mode="livesum",
)
AUDIT_LOST = Counter("gateway_audit_lines_lost_total", "Those that never will be.")
STALLED_READERS = Counter("gateway_stalled_readers_total", "Clients dropped because they took nothing.")


@lru_cache(maxsize=4096)
def child(metric: Metric, *labels: object) -> Metric:
    """`metric.labels`, which takes longer than the counting."""
    return metric.labels(*labels)


class Gaps:
    """The time between the chunks of one stream.

    A chunk is a number appended to `arrivals`, in seconds. They become counts now and then, many at a time
    and before they are many, and the histogram gets those at the stream's end.
    """

    __slots__ = ("_counts", "_sum", "arrivals")

    def __init__(self) -> None:
        self.arrivals: list[float] = []
        self._counts = [0] * (len(GAPS) + 1)
        self._sum = 0.0

    def count(self) -> None:
        arrivals = self.arrivals
        if len(arrivals) < 2:
            return
        # Sorting them and looking for the bounds takes half as long as looking for the bucket of each.
        gaps = sorted(map(sub, arrivals[1:], arrivals))
        below = 0
        for bucket, bound in enumerate((*GAPS, inf)):
            upto = bisect_right(gaps, bound)
            self._counts[bucket] += upto - below
            below = upto
        self._sum += arrivals[-1] - arrivals[0]
        del arrivals[:-1]

    def flush(self, histogram: Histogram) -> None:
        """Adds what `histogram.observe` would have added for each gap.

        The library has no call for many at once, and observing every chunk takes five times as long as
        counting it here. So this reaches for the two attributes in which a histogram keeps its values.
        """
        self.count()
        if self._sum:
            histogram._sum.inc(self._sum)
        for bucket, count in zip(histogram._buckets, self._counts, strict=True):
            if count:
                bucket.inc(count)

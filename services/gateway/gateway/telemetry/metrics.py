"""Metrics that are updated by requests. Those collected at scrape time are in backends/gauges.py.

Names follow OpenTelemetry's GenAI conventions where they exist. Labels are bounded: a model that the backend
has, else "other"; a route's template, never a path; a name in the key file; no text from clients.
"""

from bisect import bisect_right
from functools import lru_cache
from math import inf
from operator import sub
from typing import TypeVar

from prometheus_client import Counter, Gauge, Histogram, disable_created_metrics, values

from . import shared
from .mapped import CountFile

# Saves a second series for each metric, which nothing reads.
disable_created_metrics()  # type: ignore[no-untyped-call]

if shared.folder():
    values.MmapedDict = CountFile  # type: ignore[assignment, attr-defined]
    # Files per worker slot instead of per process: a replacement continues its predecessor's files.
    values.ValueClass = values.MultiProcessValue(shared.slot)  # type: ignore[no-untyped-call]

# Up to minutes, because loading a model can take that long.
LONG = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 80, 160, 320, 640)
# From a small model on a GPU to a large one on a CPU, and stalls beyond.
GAPS = (0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1, 2.5, 5, 10, 40, 120)
SHORT = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25)
TOKENS = (1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576)

Metric = TypeVar("Metric", Counter, Gauge, Histogram)

OPERATION, MODEL = "gen_ai_operation_name", "gen_ai_request_model"

REQUESTS = Counter("gateway_requests_total", "Finished requests.", ["route", "model", "outcome", "status"])
IN_FLIGHT = Gauge(
    "gateway_requests_in_flight",
    "Requests for a model's answer in progress.",
    ["answer"],
    multiprocess_mode="livesum",
)
# Exports 0 before the first request.
IN_FLIGHT.labels("stream")
IN_FLIGHT.labels("whole")
OLDEST_ANSWER = Gauge(
    "gateway_oldest_answer_seconds",
    "Time for which the model server has worked on the oldest answer that is running; 0: none is.",
    multiprocess_mode="livemax",
)
TASKS = Gauge(
    "gateway_tasks",
    "Tasks of the event loop: two or three per running stream, and a few permanent ones.",
    multiprocess_mode="livesum",
)
# Without shared state these have no series.
SHARED_UP = Gauge(
    "gateway_shared_up",
    "Gateway workers that are connected to what they share with others.",
    ["prefix"],
    multiprocess_mode="livesum",
)
SHARED_GATEWAYS = Gauge(
    "gateway_shared_gateways",
    "Gateway workers that share their state, as this one last knew.",
    ["prefix"],
    multiprocess_mode="livemax",
)
SHARED_SCHEDULER = Gauge(
    "gateway_shared_scheduler",
    "Whether the gateway decides for all of them who has a slot.",
    ["prefix"],
    multiprocess_mode="livesum",
)
TIME_TO_FIRST_CHUNK = Histogram(
    "gen_ai_client_operation_time_to_first_chunk_seconds",
    "Time from the arrival of a streaming request to its first chunk.",
    [OPERATION, MODEL, "load"],
    buckets=LONG,
)
TIME_PER_OUTPUT_CHUNK = Histogram(
    "gen_ai_client_operation_time_per_output_chunk_seconds",
    "Time between two chunks of a stream.",
    [OPERATION, MODEL],
    buckets=GAPS,
)
DURATION = Histogram(
    "gen_ai_client_operation_duration_seconds",
    "Time from the arrival of a request for a model's answer to its end.",
    [OPERATION, MODEL, "outcome"],
    buckets=LONG,
)
TOKEN_USAGE = Histogram(
    "gen_ai_client_token_usage",
    "Tokens of a request, as reported by the model server.",
    [OPERATION, MODEL, "gen_ai_token_type"],
    buckets=TOKENS,
)
TOKENS_TOTAL = Counter(
    "gateway_tokens_total",
    "Tokens reported by the model server, or else counted as chunks of a stream.",
    ["model", "type", "source"],
)
KEY_REQUESTS = Counter(
    "gateway_key_requests_total",
    "Requests with an API key for a model's answer, by the key's name.",
    ["key", "model", "outcome"],
)
KEY_TOKENS = Counter(
    "gateway_key_tokens_total",
    "Tokens of these, reported by the model server or else counted as chunks of a stream.",
    ["key", "model", "type"],
)
CHUNKS = Counter("gateway_chunks_total", "Chunks sent, including running streams.", ["model"])
OVERHEAD = Histogram(
    "gateway_overhead_seconds",
    "Time spent in the gateway: before the request to upstream, and on upstream's first byte.",
    ["phase"],
    buckets=SHORT,
)
UPSTREAM_PHASE = Histogram(
    "gateway_upstream_phase_seconds",
    "Time per phase, as reported by the model server; waiting is the rest of its total.",
    ["model", "phase"],
    buckets=LONG,
)
SLOTS = Gauge(
    "gateway_slots",
    "Slots of models that are loaded or answer: each is for one answer.",
    ["backend", "model", "state"],
    multiprocess_mode="livesum",
)
QUEUE_LENGTH = Gauge("gateway_queue_length", "Requests that wait for a slot.", multiprocess_mode="livesum")
QUEUE_SECONDS = Histogram(
    "gateway_queue_seconds",
    "Time that requests waited for a slot, until they got it, left or were refused.",
    ["outcome"],
    buckets=(0.001, *LONG),
)
MODEL_LOAD_SECONDS = Histogram(
    "gateway_model_load_seconds",
    "Time in which the backend loaded a model that requests waited for.",
    ["backend", "model"],
    buckets=LONG,
)
REFUSALS = Counter("gateway_refusals_total", "Requests refused because of limits.", ["reason"])
# Exports 0 before the first refusal, without which Prometheus would not see it as an increase.
for reason in ("queue_full", "caller_queue_full", "queue_timeout", "requests", "tokens", "concurrent"):
    REFUSALS.labels(reason)
FAILOVERS = Counter(
    "gateway_failovers_total",
    "Requests sent to another model server, because this one failed before the first byte.",
    ["from", "reason"],
)
RELOADS = Counter(
    "gateway_reloads_total",
    "Requests that make the model server load a loaded model anew, because an option differs.",
    ["model", "option"],
)
ANSWERS_CUT = Counter(
    "gateway_answers_cut_total", "Answers that took longer than GATEWAY_MAX_ANSWER_SECONDS.", ["model"]
)
ANSWERS_KEPT = Gauge(
    "gateway_answers_kept",
    "Answers that can be read again, by whether they still run.",
    ["state"],
    multiprocess_mode="livesum",
)
ANSWERS_KEPT_BYTES = Gauge(
    "gateway_answers_kept_bytes", "Memory of the answers that are kept.", multiprocess_mode="livesum"
)
ANSWERS_RESUMED = Counter("gateway_answers_resumed_total", "Connections that read a kept answer on.")
ANSWERS_GIVEN_UP = Counter(
    "gateway_answers_given_up_total", "Running answers that grew too large to be kept."
)
HEARTBEATS = Counter("gateway_heartbeats_total", "Heartbeats sent to waiting clients.")
REFUSED_CONNECTIONS = Counter(
    "gateway_refused_connections_total", "Connections refused for lack of file descriptors."
)
LOG_LINES_DROPPED = Counter("gateway_log_lines_dropped_total", "Log lines that could not be written.")
AUDIT_WAITING = Gauge(
    "gateway_audit_lines_waiting",
    "Audit log lines not written yet.",
    multiprocess_mode="livesum",
)
AUDIT_LOST = Counter("gateway_audit_lines_lost_total", "Audit log lines lost.")
STALLED_READERS = Counter("gateway_stalled_readers_total", "Clients dropped because they read nothing.")


@lru_cache(maxsize=4096)
def child(metric: Metric, *labels: object) -> Metric:
    """Cached `metric.labels`, which takes longer than the update itself."""
    return metric.labels(*labels)


class Gaps:
    """The time between the chunks of one stream.

    Each chunk appends its time in seconds to `arrivals`. Periodically these are converted to bucket counts
    in bulk, and at the stream's end the counts are added to the histogram.
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
        # Sorting the gaps and searching for the bounds is twice as fast as finding each gap's bucket.
        gaps = sorted(map(sub, arrivals[1:], arrivals))
        below = 0
        for bucket, bound in enumerate((*GAPS, inf)):
            upto = bisect_right(gaps, bound)
            self._counts[bucket] += upto - below
            below = upto
        self._sum += arrivals[-1] - arrivals[0]
        del arrivals[:-1]

    def flush(self, histogram: Histogram) -> None:
        """Equivalent to `histogram.observe` for each gap.

        The library has no bulk call, and observing every chunk takes five times as long as counting it here.
        So this accesses the two private attributes in which a histogram keeps its values.
        """
        self.count()
        if self._sum:
            histogram._sum.inc(self._sum)
        for bucket, count in zip(histogram._buckets, self._counts, strict=True):
            if count:
                bucket.inc(count)

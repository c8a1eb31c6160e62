"""Log lines, written by a thread of their own so that nothing ever waits for output.

If stderr blocks, closes or sits on a full disk, lines are dropped and counted; requests and shutdown are
unaffected.
"""

import logging
import os
import queue
import select
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from logging.handlers import QueueHandler, QueueListener

import structlog
from prometheus_client import Counter

from ..settings import Settings

LINES_DROPPED = Counter(
    "engine_log_lines_dropped", "Log lines dropped: stderr is blocked, closed or full", registry=None
)

# A few megabytes at most: minutes of a busy engine.
MAX_QUEUED_LINES = 5_000

# How long shutdown waits for queued lines.
FLUSH_SECONDS = 1.0


class LogQueue:
    """Queues log records and writes them to a file descriptor in a background thread."""

    def __init__(
        self,
        descriptor: int,
        formatter: logging.Formatter,
        format_drops: Callable[[int], str],
        dropped: Counter = LINES_DROPPED,
        size: int = MAX_QUEUED_LINES,
    ) -> None:
        self._queue: queue.Queue[logging.LogRecord] = queue.Queue(size)
        self.handler = _Enqueue(self._queue, dropped)
        self.handler.setFormatter(formatter)
        QueueListener(self._queue, _Write(descriptor, format_drops, dropped)).start()

    def flush(self, seconds: float = FLUSH_SECONDS) -> None:
        """Waits until the queue is empty, but at most this long: a write may block forever."""
        done = self._queue.all_tasks_done
        with done:
            done.wait_for(lambda: not self._queue.unfinished_tasks, seconds)


class _Enqueue(QueueHandler):
    def __init__(self, records: queue.Queue[logging.LogRecord], dropped: Counter) -> None:
        super().__init__(records)
        self._dropped = dropped

    def enqueue(self, record: logging.LogRecord) -> None:
        try:
            self.queue.put_nowait(record)
        except queue.Full:
            self._dropped.inc()


class _Write(logging.Handler):
    """Writes lines with os.write. A stream would flush its buffer again at exit, and could block there."""

    def __init__(self, descriptor: int, format_drops: Callable[[int], str], dropped: Counter) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._format_drops = format_drops
        self._dropped = dropped
        self._reported = 0
        self._line_cut = False

    def createLock(self) -> None:  # noqa: N802  # named by logging
        # logging.shutdown() would wait for the lock, and so for a blocked write.
        self.lock = None

    def handle(self, record: logging.LogRecord) -> bool:
        if self._write(record.getMessage()):
            self._report_drops()
        else:
            self._dropped.inc()
        return True

    def _report_drops(self) -> None:
        dropped = counter_value(self._dropped)
        if dropped > self._reported and self._write(self._format_drops(dropped - self._reported)):
            self._reported = dropped

    def _write(self, line: str) -> bool:
        # If the previous line was cut off, this one starts on a line of its own.
        rest = b"\n" * self._line_cut + line.encode("utf-8", "replace") + b"\n"
        try:
            while rest:
                try:
                    rest = rest[os.write(self._descriptor, rest) :]
                    self._line_cut = bool(rest)
                except BlockingIOError:
                    select.select([], [self._descriptor], [])
        except OSError:
            return False
        return True


def counter_value(counter: Counter) -> int:
    (family,) = counter.collect()
    return int(family.samples[0].value)


def configure_logging(settings: Settings) -> LogQueue:
    """Sends all log lines, the engine's and uvicorn's, to stderr in one format."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if settings.log_format == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
    )

    def format_drops(lines: int) -> str:
        event = {"event": "log_lines_dropped", "lines": lines, "level": "warning", "logger": __name__}
        event["timestamp"] = datetime.now(UTC).isoformat().replace("+00:00", "Z")
        return str(renderer(None, "warning", event))

    log = LogQueue(sys.stderr.fileno(), formatter, format_drops)
    logging.basicConfig(handlers=[log.handler], level=settings.log_level.upper())
    # Otherwise warnings and logging errors are written to stderr directly, which may block.
    logging.captureWarnings(True)
    logging.raiseExceptions = False
    return log

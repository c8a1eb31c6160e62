"""Log lines, written by a thread of their own: nobody waits for whoever reads them.

A terminal in selection mode, a reader that is gone and a full disk cost lines, which are counted, and nothing
else: neither a request nor the end of the process depends on what becomes of them.
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

from .settings import Settings

DROPPED = Counter(
    "engine_log_lines_dropped", "Log lines that could not be written, or not soon enough", registry=None
)

# Some megabytes at most, and minutes of a busy engine.
MAX_WAITING = 5_000

# How long the end waits for what is still to be written.
FLUSH_SECONDS = 1.0


class Log:
    """Everything that is logged, on its way to a file descriptor."""

    def __init__(
        self,
        descriptor: int,
        formatter: logging.Formatter,
        report: Callable[[int], str],
        dropped: Counter = DROPPED,
        waiting: int = MAX_WAITING,
    ) -> None:
        self._queue: queue.Queue[logging.LogRecord] = queue.Queue(waiting)
        self.handler = _Enqueuing(self._queue, dropped)
        self.handler.setFormatter(formatter)
        QueueListener(self._queue, _Writing(descriptor, report, dropped)).start()

    def flush(self, seconds: float = FLUSH_SECONDS) -> None:
        """Waits until all is written, but no longer: a write may never end."""
        done = self._queue.all_tasks_done
        with done:
            done.wait_for(lambda: not self._queue.unfinished_tasks, seconds)


class _Enqueuing(QueueHandler):
    def __init__(self, waiting: queue.Queue[logging.LogRecord], dropped: Counter) -> None:
        super().__init__(waiting)
        self._dropped = dropped

    def enqueue(self, record: logging.LogRecord) -> None:
        try:
            self.queue.put_nowait(record)
        except queue.Full:
            self._dropped.inc()


class _Writing(logging.Handler):
    """The only one that writes. It uses no stream: their buffers would be flushed once more at the end."""

    def __init__(self, descriptor: int, report: Callable[[int], str], dropped: Counter) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._report = report
        self._dropped = dropped
        self._reported = 0
        self._torn = False

    def createLock(self) -> None:  # noqa: N802  # as logging has it
        # Whoever shuts logging down would wait for it, and so for a write.
        self.lock = None

    def handle(self, record: logging.LogRecord) -> bool:
        if self._write(record.getMessage()):
            self._tell_what_is_missing()
        else:
            self._dropped.inc()
        return True

    def _tell_what_is_missing(self) -> None:
        dropped = count(self._dropped)
        if dropped > self._reported and self._write(self._report(dropped - self._reported)):
            self._reported = dropped

    def _write(self, line: str) -> bool:
        # What a full disk has cut off shall not be taken for the beginning of this line.
        rest = b"\n" * self._torn + line.encode("utf-8", "replace") + b"\n"
        try:
            while rest:
                try:
                    rest = rest[os.write(self._descriptor, rest) :]
                    self._torn = bool(rest)
                except BlockingIOError:
                    select.select([], [self._descriptor], [])
        except OSError:
            return False
        return True


def count(counter: Counter) -> int:
    (family,) = counter.collect()
    return int(family.samples[0].value)


def configure_logging(settings: Settings) -> Log:
    """One shape for all lines on stderr, our own and uvicorn's."""
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

    def report(lines: int) -> str:
        event = {"event": "log_lines_dropped", "lines": lines, "level": "warning", "logger": __name__}
        event["timestamp"] = datetime.now(UTC).isoformat().replace("+00:00", "Z")
        return str(renderer(None, "warning", event))

    log = Log(sys.stderr.fileno(), formatter, report)
    logging.basicConfig(handlers=[log.handler], level=settings.log_level.upper())
    # Both would write to stderr themselves, and wait for it.
    logging.captureWarnings(True)
    logging.raiseExceptions = False
    # They log each request at info; ours is the one line a request.
    for chatty in ("httpx", "httpcore", "asyncio"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    return log

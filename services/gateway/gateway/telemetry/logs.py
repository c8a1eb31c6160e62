"""Configures the log: the format of every line."""

import logging
import sys
from typing import Any, TextIO, cast

import structlog
from structlog.typing import EventDict

from ..settings import Settings
from .output import stdout


def _renderers(settings: Settings) -> list[Any]:
    if settings.log_format == "console":
        console = structlog.dev.ConsoleRenderer(colors=sys.stdout.isatty(), sort_keys=False)
        return [_without_escapes, console]
    return [structlog.processors.JSONRenderer()]


def _without_escapes(_: Any, __: str, line: EventDict) -> EventDict:
    """Escape control characters from clients. Stack traces keep their line breaks."""
    for name, value in line.items():
        if isinstance(value, str) and not value.isprintable() and name != "exception":
            line[name] = value.encode("unicode_escape").decode()
    return line


def configure_structlog(settings: Settings) -> None:
    """Configure the gateway's own lines: to stdout, without the cost of the standard library's logging."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            *_renderers(settings),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(settings.log_level),
        logger_factory=structlog.WriteLoggerFactory(cast(TextIO, stdout)),
        cache_logger_on_first_use=True,
    )


def standard_logging(settings: Settings) -> dict[str, Any]:
    """`logging.config` dictionary that gives gunicorn's and uvicorn's lines the same format as ours."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "same": {
                "()": structlog.stdlib.ProcessorFormatter,
                "foreign_pre_chain": [
                    structlog.stdlib.add_log_level,
                    structlog.processors.TimeStamper(fmt="iso", utc=True),
                    structlog.processors.format_exc_info,
                ],
                "processors": [
                    structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                    *_renderers(settings),
                ],
            }
        },
        "handlers": {"stdout": {"class": "logging.StreamHandler", "formatter": "same", "stream": stdout}},
        "root": {"level": logging.getLevelName(settings.log_level.upper()), "handlers": ["stdout"]},
        "loggers": {
            # uvicorn's worker uses this logger's handlers for its own lines.
            "gunicorn.error": {"handlers": ["stdout"], "propagate": False},
            "gunicorn.access": {"handlers": [], "propagate": False},
            # It logs a line per request to upstream, which our own request line covers.
            "httpx": {"level": "WARNING"},
        },
    }

"""Who has managed models, and with what result: one JSON line each, in a stream of its own."""

import json
import sys
from datetime import UTC, datetime
from pathlib import Path

import structlog

from ..settings import Settings

_file: Path | None = None


def configure(settings: Settings) -> None:
    global _file
    _file = Path(settings.audit_file) if settings.audit_file else None


def unusable(settings: Settings) -> str | None:
    """Why lines could not be written."""
    if not settings.audit_file:
        return None
    try:
        Path(settings.audit_file).open("a").close()
    except OSError as error:
        return f"GATEWAY_AUDIT_FILE: {settings.audit_file}: {error.strerror}"
    return None


def write(**fields: object) -> None:
    line = json.dumps({"event": "audit", "timestamp": datetime.now(UTC).isoformat(), **fields})
    try:
        if not _file:
            print(line, file=sys.stderr, flush=True)
            return
        # Opened anew each time, since it is seldom: so it may be rotated, and several workers write into it.
        with _file.open("a") as stream:
            stream.write(f"{line}\n")
    except OSError as error:
        # A full disk must not keep its end from the answer; and the line is not lost either.
        structlog.get_logger().error("audit", problem=error.strerror, line=line)

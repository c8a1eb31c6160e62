"""The limit on file descriptors: a connection needs one, and a second one while it is answered."""

import resource
from contextlib import suppress

import structlog

from ..settings import Settings

# For the process itself: the event loop, logs, pipes to child processes, idle connections.
RESERVE = 128

log = structlog.get_logger()


def raise_limit(settings: Settings) -> None:
    """Raises the soft limit to the hard one; warns if that is too low for the configured slots and queue."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # Some systems (macOS) refuse the hard limit that they report.
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        soft = hard
    needed = 2 * settings.slots * settings.max_loaded_models + settings.max_queue + RESERVE
    if soft != resource.RLIM_INFINITY and soft < needed:
        log.warning(
            "descriptor_limit_low", limit=soft, needed=needed, hint="raise the hard limit (ulimit -Hn)"
        )

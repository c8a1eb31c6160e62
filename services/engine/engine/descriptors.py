"""File descriptors: a connection takes one, and two while it is answered."""

import resource
from contextlib import suppress

import structlog

from .settings import Settings

# The process's own: the loop, the logs, the models' pipes, connections that are only kept.
RESERVE = 128

log = structlog.get_logger()


def raise_limit(settings: Settings) -> None:
    """To what the system allows, as nginx does; says so if that is too little for the requests promised."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # Some systems refuse what they have called the limit.
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        soft = hard
    needed = 2 * settings.slots * settings.max_loaded_models + settings.max_queue + RESERVE
    if soft != resource.RLIM_INFINITY and soft < needed:
        log.warning("few_descriptors", limit=soft, needed=needed, hint="raise the hard limit (ulimit -Hn)")

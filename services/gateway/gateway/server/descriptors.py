"""The limit on open files and connections of this process."""

import resource

# Four thousand streams: each has one connection to its client and one to the model server.
RECOMMENDED = 8192
MAXIMUM = 1024 * 1024


def raise_limit() -> int:
    """Raise the soft limit as far as an unprivileged process may; returns the new limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = max(soft, min(hard, MAXIMUM))
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    return limit


def warning(limit: int) -> str | None:
    """A warning for the operator if the limit is low."""
    if limit >= RECOMMENDED:
        return None
    return (
        f"the limit of {limit} open files and connections is enough for about {limit // 2} streams only; "
        "raise the hard limit: ulimit -Hn, systemd's LimitNOFILE, Compose's ulimits"
    )

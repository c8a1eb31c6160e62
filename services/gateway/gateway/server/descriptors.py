"""How many files and connections this process may have open."""

import resource

# Four thousand streams: each has one connection to its client and one to the model server.
ENOUGH = 8192
MOST = 1024 * 1024


def raise_limit() -> int:
    """Raises the limit as far as a process may without being root; returns what it is then."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = max(soft, min(hard, MOST))
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    return limit


def warning(limit: int) -> str | None:
    if limit >= ENOUGH:
        return None
    return (
        f"no more than {limit} files and connections can be open, enough for some {limit // 2} streams; "
        "raise the hard limit: ulimit -Hn, systemd's LimitNOFILE, Compose's ulimits"
    )

"""Web origins, as browsers send them and as settings list them."""

import ipaddress
import re

# Browsers omit these ports.
DEFAULT_PORTS = {"http": "80", "https": "443"}

# Longer than any origin; longer values are not matched.
MAX_ORIGIN = 300

_PARTS = re.compile(r"([a-z*][a-z0-9+.*-]*)://(\[[0-9a-f:.]+\]|[a-z0-9._*-]*)(?::([0-9*]{0,5}))?")


class Origins:
    """Origins or patterns as in `OLLAMA_ORIGINS`, separated by commas or spaces.

    In a pattern `*` matches any number of characters; alone it matches every origin. Raises ValueError for a
    value that no browser sends.
    """

    def __init__(self, origins: str = "") -> None:
        self.patterns = tuple(dict.fromkeys(_normalised(one) for one in origins.replace(",", " ").split()))
        self._matcher = re.compile("|".join(map(_expression, self.patterns)) or "(?!)")

    def __contains__(self, origin: str) -> bool:
        return len(origin) <= MAX_ORIGIN and self._matcher.fullmatch(origin.lower()) is not None


def _normalised(origin: str) -> str:
    """The form that browsers send: lower case, no default port, no path."""
    if origin in ("*", "null"):
        return origin
    scheme, separator, rest = origin.lower().partition("://")
    if not separator and origin.startswith("*"):
        scheme, separator, rest = "*", "://", origin.lower()
    rest = rest.rstrip("/")
    if not separator:
        raise _invalid(origin, "it has no scheme")
    if re.search(r"[/?#]", rest):
        raise _invalid(origin, "it has a path")
    parts = _PARTS.fullmatch(f"{scheme}://{rest}")
    if not parts or (scheme in DEFAULT_PORTS and not parts[2]) or scheme in ("ws", "wss"):
        raise _invalid(origin, "browsers send scheme, host and port")
    host, port = parts[2], parts[3] or ""
    if host.startswith("["):
        host = _address(origin, host)
    if port.isdigit():
        port = str(int(port))
        if int(port) > 65535:
            raise _invalid(origin, "the port is out of range")
    if port and port == DEFAULT_PORTS.get(scheme):
        if host.endswith("*"):  # without its port the pattern would match every other port
            raise _invalid(origin, "browsers omit the default port")
        port = ""
    return f"{scheme}://{host}:{port}" if port else f"{scheme}://{host}"


def _address(origin: str, host: str) -> str:
    try:
        return f"[{ipaddress.IPv6Address(host[1:-1])}]"
    except ValueError:
        raise _invalid(origin, "browsers send scheme, host and port") from None


def _invalid(origin: str, reason: str) -> ValueError:
    return ValueError(
        f"{origin!r} is not an origin that browsers send: {reason}; use origins like https://ui.example, "
        "or patterns like http://localhost:*, https://*.example.org and chrome-extension://*"
    )


def _expression(pattern: str) -> str:
    """Regular expression of a pattern. In a host `*` also matches a port; in a port only digits."""
    if pattern == "*":
        return ".*"
    if pattern == "null":
        return "null"
    parts = _PARTS.fullmatch(pattern)
    assert parts
    stars = (("[a-z0-9+.-]*", parts[1]), ("[^/@]*", parts[2]), ("[0-9]*", parts[3]))
    scheme, host, port = (star.join(map(re.escape, (part or "").split("*"))) for star, part in stars)
    return f"{scheme}://{host}:{port}" if port else f"{scheme}://{host}"

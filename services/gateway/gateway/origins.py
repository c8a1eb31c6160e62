"""The origins of web pages, as browsers send them and as settings write them."""

import ipaddress
import re

# Browsers leave these ports out.
DEFAULT_PORTS = {"http": "80", "https": "443"}

# Longer than any name of a host with its scheme and port; a longer one is not even looked at.
MAX_ORIGIN = 300

_PARTS = re.compile(r"([a-z*][a-z0-9+.*-]*)://(\[[0-9a-f:.]+\]|[a-z0-9._*-]*)(?::([0-9*]{0,5}))?")


class Origins:
    """Origins, or patterns of them as `OLLAMA_ORIGINS` has them, separated by commas or blanks.

    In a pattern `*` stands for any number of characters, alone for every origin. Raises ValueError for what
    is the origin of no page.
    """

    def __init__(self, said: str = "") -> None:
        self.patterns = tuple(dict.fromkeys(_normal(one) for one in said.replace(",", " ").split()))
        self._matcher = re.compile("|".join(map(_expression, self.patterns)) or "(?!)")

    def __contains__(self, origin: str) -> bool:
        return len(origin) <= MAX_ORIGIN and self._matcher.fullmatch(origin.lower()) is not None


def _normal(said: str) -> str:
    """In the one spelling that browsers use: lower case, no default port, nothing behind it."""
    if said in ("*", "null"):
        return said
    scheme, mark, place = said.lower().partition("://")
    if not mark and said.startswith("*"):
        scheme, mark, place = "*", "://", said.lower()
    place = place.rstrip("/")
    if not mark:
        raise _never(said, "it has no scheme")
    if re.search(r"[/?#]", place):
        raise _never(said, "it has a path")
    parts = _PARTS.fullmatch(f"{scheme}://{place}")
    if not parts or (scheme in DEFAULT_PORTS and not parts[2]) or scheme in ("ws", "wss"):
        raise _never(said, "browsers send scheme, host and port")
    host, port = parts[2], parts[3] or ""
    if host.startswith("["):
        host = _address(said, host)
    if port.isdigit():
        port = str(int(port))
        if int(port) > 65535:
            raise _never(said, "there is no such port")
    if port and port == DEFAULT_PORTS.get(scheme):
        if host.endswith("*"):  # without its port it would stand for every other one
            raise _never(said, "browsers leave the default port out")
        port = ""
    return f"{scheme}://{host}:{port}" if port else f"{scheme}://{host}"


def _address(said: str, host: str) -> str:
    try:
        return f"[{ipaddress.IPv6Address(host[1:-1])}]"
    except ValueError:
        raise _never(said, "browsers send scheme, host and port") from None


def _never(said: str, why: str) -> ValueError:
    return ValueError(
        f"{said!r} is the origin of no page: {why}; write origins like https://ui.example, "
        "or patterns like http://localhost:*, https://*.example.org and chrome-extension://*"
    )


def _expression(pattern: str) -> str:
    """A host's star may stand for the port too, as in `https://*`; a port's for digits alone."""
    if pattern == "*":
        return ".*"
    if pattern == "null":
        return "null"
    parts = _PARTS.fullmatch(pattern)
    assert parts
    stars = (("[a-z0-9+.-]*", parts[1]), ("[^/@]*", parts[2]), ("[0-9]*", parts[3]))
    scheme, host, port = (star.join(map(re.escape, (part or "").split("*"))) for star, part in stars)
    return f"{scheme}://{host}:{port}" if port else f"{scheme}://{host}"

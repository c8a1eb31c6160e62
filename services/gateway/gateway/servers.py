"""The model servers as settings name them: `http://gpu1:11434 name=big weight=2, http://gpu2:11434`."""

import re
from collections import Counter
from typing import NamedTuple

import httpx

# The name of a server that is the only one.
ONLY = "ollama"

MAX_SERVERS = 200

ENCODE = "if it has a password, write each / , ? # or @ in it as %2F %2C %3F %23 or %40"

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,39}", re.IGNORECASE | re.ASCII)


class Server(NamedTuple):
    """`name` is that of logs, metrics and `X-Backend`. Twice the `weight` makes for twice the requests."""

    url: str
    name: str
    weight: float = 1.0


class _Entry(NamedTuple):
    url: httpx.URL
    words: dict[str, str]


def parse_servers(text: str) -> tuple[Server, ...]:
    """The servers, in order. Raises ValueError."""
    entries = [_entry(part.split()) for part in text.split(",") if part.strip()]
    if len(entries) > MAX_SERVERS:
        raise ValueError(f"{len(entries)} servers are more than {MAX_SERVERS}")
    hosts = Counter(entry.url.host for entry in entries)
    servers = tuple(_server(entry, hosts) for entry in entries)
    for name, count in Counter(server.name.lower() for server in servers).items():
        if count > 1:
            raise ValueError(f"{count} servers are called {name}; give each its own with name=…")
    return servers


def _entry(words: list[str]) -> _Entry:
    first, *options = words
    # No message repeats any of the URL, not even its parser's words, before it is known what is a password.
    try:
        url = httpx.URL(first)
    except httpx.InvalidURL:
        raise ValueError(f"a server's address is not a URL like http://gpu1:11434; {ENCODE}") from None
    if url.scheme not in ("http", "https") or not url.host:
        raise ValueError("a server's address must be a URL like http://gpu1:11434")
    if "@" in url.path:
        raise ValueError(f"a server's address has an @ behind its host; {ENCODE}")
    if url.port is not None and not 0 < url.port < 65536:
        raise ValueError(f"the address of the server at {url.host} has no valid port: {url.port}")
    if url.query or url.fragment:
        raise ValueError(f"the address of the server at {url.host} has a query or a fragment; leave it out")
    found: dict[str, str] = {}
    for option in options:
        key, equals, value = option.partition("=")
        if key not in ("name", "weight") or not equals or key in found:
            raise ValueError(
                f"after the address of the server at {url.host} come only name=… and weight=…, each once; "
                "commas separate servers"
            )
        found[key] = value
    return _Entry(url, found)


def _server(entry: _Entry, hosts: Counter[str]) -> Server:
    url, words = entry
    name = words.get("name", _default_name(url, hosts))
    if "name" in words and not _NAME.fullmatch(name):
        raise ValueError(f"name={name}: use up to 40 letters, digits, dots, hyphens and underscores")
    return Server(str(url), name, _weight(words.get("weight", "1")))


def _default_name(url: httpx.URL, hosts: Counter[str]) -> str:
    if hosts.total() == 1:
        return ONLY
    return url.netloc.decode() if hosts[url.host] > 1 else url.host


def _weight(text: str) -> float:
    try:
        weight = float(text)
    except ValueError:
        weight = 0
    if not 0.01 <= weight <= 1000:
        raise ValueError(f"weight={text}: use a number from 0.01 to 1000")
    return weight

"""The addresses behind a model server's name: each is a server of its own."""

import asyncio
import ipaddress
import socket
from collections.abc import Callable, Mapping, Sequence

LOOKUP_SECONDS = 5
LOOKUP_TIMEOUT = 5

Naming = Callable[[Mapping[str, str], Sequence[str], str], dict[str, str]]


def is_address(host: str) -> bool:
    """Whether `host` needs no lookup."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost"
    return True


async def addresses(host: str, port: int) -> list[str]:
    """The addresses of `host`, of one family, in a stable order; empty if it has none at the moment.

    IPv4 unless only IPv6 has several: one server often has an address of each family.
    """
    lookup = asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    try:
        found = await asyncio.wait_for(lookup, LOOKUP_TIMEOUT)
    except (OSError, TimeoutError, UnicodeError):
        return []
    four, six = (
        sorted({str(address[0]) for kind, *_, address in found if kind == family})
        for family in (socket.AF_INET, socket.AF_INET6)
    )
    return six if len(six) > 1 and len(four) < 2 else four or six


def named(known: Mapping[str, str], found: Sequence[str], base: str) -> dict[str, str]:
    """The name of the server at each address in `found`; `known` are those of the last lookup, which stay.

    The first one, or one that replaces all others, is called `base`, every other one `base@address`. A lookup
    that finds nothing changes nothing: the servers themselves show whether they are there.
    """
    if not found:
        return dict(known)
    names = {address: known[address] for address in found if address in known}
    for address in found:
        if address not in names:
            names[address] = f"{base}@{address}" if names else base
    return names


def named_by_address(known: Mapping[str, str], found: Sequence[str], base: str) -> dict[str, str]:
    """The same, with names that gateways agree on whatever each of them has known before: `base@address`."""
    return {address: f"{base}@{address}" for address in found} or dict(known)

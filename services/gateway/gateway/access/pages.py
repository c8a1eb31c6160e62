"""Pages in a browser, where nobody needs a key: they ask as whoever looks at them, on whose machine this is.

A browser keeps from a page what it is answered, but asks all the same, unless the request is unusual. Only
the page's origin tells it from other clients, and a browser sends that with everything that is not a GET.
"""

import ipaddress
from collections.abc import Container
from urllib.parse import urlsplit

LOOPBACK_NAME = "localhost"


def may_ask(origin: str, host: str, configured: Container[str]) -> bool:
    """Whether a page from `origin` may ask at the address `host`, as it stands in the request."""
    if origin in configured or "*" in configured:
        return True
    if origin == "null":  # a page in a frame of anybody's, which hides where it is from
        return False
    try:
        site = urlsplit(origin)
        name = site.hostname or ""
    except ValueError:
        return False
    if site.scheme not in ("http", "https"):
        return bool(site.scheme)  # a program's or an extension's own
    # A page from here. One with a name in the public DNS could be from elsewhere, and its name lead here
    # only since it was loaded.
    is_own = site.netloc == host and ("." not in name or _is_address(name))
    return is_own or _is_loopback(name)


def _is_loopback(name: str) -> bool:
    if name == LOOPBACK_NAME or name.endswith(f".{LOOPBACK_NAME}"):
        return True
    return _is_address(name) and ipaddress.ip_address(name).is_loopback


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True

"""Pages in a browser: which may read what they are answered, and which may ask where nobody needs a key.

There they ask as whoever looks at them, on whose machine this is. A browser keeps from a page what it is
answered, but asks all the same, unless the request is unusual. Only the page's origin tells it from other
clients, and a browser sends that with everything that is not a GET.
"""

import ipaddress
from urllib.parse import urlsplit

from ..origins import Origins

LOOPBACK_NAME = "localhost"

# Nobody has such names in the public DNS.
LOCAL_NAMES = (".internal", ".local")

# Pages of this machine and of its programs: those that Ollama allows whatever is configured.
OF_THIS_MACHINE = Origins(
    " ".join(
        f"{scheme}://{host} {scheme}://{host}:*"
        for scheme in ("http", "https")
        for host in ("localhost", "127.0.0.1", "0.0.0.0")  # noqa: S104 - not to listen on
    )
    + " app://* file://* tauri://* vscode-webview://* vscode-file://*"
)


def may_read(origin: str, configured: Origins, is_open: bool) -> bool:
    """Whether a page from `origin` may read what it is answered. `is_open`: nobody needs a key."""
    return origin in configured or (is_open and origin in OF_THIS_MACHINE)


def may_ask(origin: str, host: str, configured: Origins) -> bool:
    """Whether a page from `origin` may ask at the address `host`, as it stands in the request."""
    if may_read(origin, configured, is_open=True):
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
    return (site.netloc == host and _is_local(name)) or _is_loopback(name)


def may_be_asked(host: str, configured: Origins) -> bool:
    """Whether the address `host`, as it stands in the request, is one at which clients know this gateway.
    With a GET a browser does not send a page's origin.
    """
    if f"https://{host}" in configured or f"http://{host}" in configured:
        return True
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    return _is_local(name) or _is_loopback(name)


def _is_local(name: str) -> bool:
    """A name in the public DNS could be of a page from elsewhere, and lead here only since it was loaded."""
    return "." not in name or name.endswith(LOCAL_NAMES) or _is_address(name)


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

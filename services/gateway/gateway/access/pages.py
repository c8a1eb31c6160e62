"""Web pages: which may read answers, and which may send requests while no API key is required.

Without keys, any page that the user of this machine opens could call the gateway from the browser. CORS keeps
a page from reading an answer but not from sending a simple request. The Origin header identifies the page;
browsers send it with every method but GET and HEAD.
"""

import ipaddress
from urllib.parse import urlsplit

from ..origins import Origins

LOOPBACK_NAME = "localhost"

# Domains that do not exist in the public DNS.
LOCAL_NAMES = (".internal", ".local")

# Origins on this machine, which Ollama always allows.
LOCAL_ORIGINS = Origins(
    " ".join(
        f"{scheme}://{host} {scheme}://{host}:*"
        for scheme in ("http", "https")
        for host in ("localhost", "127.0.0.1", "0.0.0.0")  # noqa: S104 - not to listen on
    )
    + " app://* file://* tauri://* vscode-webview://* vscode-file://*"
)


def may_read(origin: str, configured: Origins, is_open: bool) -> bool:
    """Whether a page from `origin` may read answers. `is_open`: no API key is required."""
    return origin in configured or (is_open and origin in LOCAL_ORIGINS)


def may_request(origin: str, host: str, configured: Origins) -> bool:
    """Whether a page from `origin` may send a request whose Host header is `host`."""
    if may_read(origin, configured, is_open=True):
        return True
    if origin == "null":  # a sandboxed frame, possibly of a foreign page
        return False
    try:
        site = urlsplit(origin)
        name = site.hostname or ""
    except ValueError:
        return False
    if site.scheme not in ("http", "https"):
        return bool(site.scheme)  # an application's or an extension's scheme
    return (site.netloc == host and _is_local(name)) or _is_loopback(name)


def is_trusted_host(host: str, configured: Origins) -> bool:
    """Whether the Host header is one of this gateway's names.

    Guards against DNS rebinding with GET requests, which have no Origin header.
    """
    if f"https://{host}" in configured or f"http://{host}" in configured:
        return True
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    return _is_local(name) or _is_loopback(name)


def _is_local(name: str) -> bool:
    """Whether `name` is outside the public DNS: a public name could be a foreign page's, rebound to here."""
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

"""The address of what several gateways share: `valkey://:password@host:6379/0`."""

from pathlib import Path
from urllib.parse import urlsplit

SCHEMES = ("valkey", "valkeys", "redis", "rediss", "unix")


def check_shared_url(text: str) -> None:
    """Raises ValueError, without the text in it: it may contain a password."""
    if not text:
        return
    try:
        url = urlsplit(text)
        port_is_valid = url.port != 0
    except ValueError:
        raise ValueError("this is not a URL; if its password has special characters, encode them") from None
    if url.scheme not in SCHEMES or not port_is_valid:
        raise ValueError(f"this has to begin with {', '.join(f'{scheme}://' for scheme in SCHEMES)}")
    if not (url.path if url.scheme == "unix" else url.hostname):
        raise ValueError("this names no host; write valkey://host:6379")


def find_shared_url(url: str, file: str) -> str:
    """The URL itself, or that in the file; empty if there is neither. Raises ValueError, OSError."""
    if url or not file or not Path(file).exists():
        return url
    found = Path(file).read_text().strip()
    check_shared_url(found)
    return found

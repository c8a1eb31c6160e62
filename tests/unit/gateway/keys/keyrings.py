"""A keyring over a key file, and whether it accepts a key."""

from pathlib import Path

from gateway.access.keyring import Keyring
from gateway.errors import Unauthorized
from gateway.settings import Settings


def keyring(path: Path | None, address: str = "") -> Keyring:
    return Keyring(Settings(keys_file=str(path or ""), public_address=address))


def lets_in(ring: Keyring, text: str | None) -> bool:
    try:
        ring.key_of([text] if text else [])
    except Unauthorized:
        return False
    return True

"""The valid API keys of one worker: loaded at its start, and reloaded whenever the key file changes."""

import asyncio
import os
from collections.abc import Sequence
from contextlib import suppress
from hmac import compare_digest
from pathlib import Path

import structlog

from ..errors import InvalidKey, InvalidRequest, Unauthorized
from ..settings import Settings
from .keys import BadKeyFile, Key, digest_of, id_of, parse_keys, read_text

RELOAD_SECONDS = 2
NO_DIGEST = bytes(32)  # compared with for an unknown id, so that the check takes the same time


class Keyring:
    """`is_open`: no API key is required. `file_ok`: the file's current content is in use.

    `marker` is a file that exists once there have been keys. If a replaced worker finds no key file any more,
    the marker keeps it from granting open access.
    """

    def __init__(self, settings: Settings, marker: Path | None = None) -> None:
        self._path = Path(settings.keys_file) if settings.keys_file else None
        self._keys_required = settings.is_public
        self._keys: dict[str, Key] = {}
        self._seen: tuple[int, ...] | None = None
        self._marker = marker
        self._had_keys = marker is not None and marker.exists()
        self.file_ok = True
        self.reload()

    @property
    def is_open(self) -> bool:
        return not self._keys_required and not self._had_keys

    @property
    def usable(self) -> int:
        """Number of keys that have not expired."""
        return sum(not key.is_expired() for key in self._keys.values())

    def key_of(self, texts: Sequence[str]) -> Key | None:
        """The valid key among those sent; None if no key is required.

        Raises Unauthorized, and InvalidRequest for two different valid keys.
        """
        if self.is_open:
            return None
        if not texts:
            raise Unauthorized("an API key is required: send it as Authorization: Bearer … or as x-api-key")
        valid = [key for text in texts if (key := self._valid(text))]
        if not valid:
            raise InvalidKey("the API key is unknown, expired or revoked")
        if any(key.id != valid[0].id for key in valid):
            raise InvalidRequest("two different keys were sent, both valid; send only one")
        return valid[0]

    def _valid(self, text: str) -> Key | None:
        key = self._keys.get(id_of(text))
        is_it = compare_digest(digest_of(text), key.digest if key else NO_DIGEST)
        return key if key and is_it and not key.is_expired() else None

    async def watch(self) -> None:
        """Reload the file when it changes, until cancelled."""
        while True:
            await asyncio.sleep(RELOAD_SECONDS)
            try:
                # In a thread: reading thousands of keys would block the event loop for too long.
                await asyncio.to_thread(self.reload)
            except Exception:
                # Whatever the error: if this loop ended, a revoked key would stay valid.
                structlog.get_logger().exception("unhandled_exception", file=str(self._path))
                self.file_ok = False

    def reload(self) -> None:
        """Load the file if it has changed. If it is invalid, the previous keys stay valid."""
        if not self._path:
            return
        try:
            status = os.stat(self._path)
            seen = (status.st_mtime_ns, status.st_size, status.st_ino)
            if seen == self._seen:
                self._require_keys()
                return
            keys = parse_keys(read_text(self._path))
        except FileNotFoundError:
            if self._had_keys:
                self._reject_file((), "the file is missing")
            return
        except OSError as error:
            self._reject_file((), error.strerror)
        except BadKeyFile as error:
            self._reject_file(seen, str(error))
        else:
            if self._had_keys:
                structlog.get_logger().info("keys_reloaded", keys=len(keys))
            self._keys, self._seen, self.file_ok = keys, seen, True
            self._require_keys()

    def _reject_file(self, seen: tuple[int, ...], reason: str | None) -> None:
        """Log the problem, once for each version of the file."""
        if seen != self._seen or self.file_ok:
            structlog.get_logger().error(
                "key_file_invalid", file=str(self._path), problem=reason, previous_keys_in_use=len(self._keys)
            )
        self._seen, self.file_ok = seen, False
        self._require_keys()

    def _require_keys(self) -> None:
        """Require keys for as long as this gateway runs, even if the file vanishes."""
        self._had_keys = True
        if self._marker and not self._marker.exists():
            with suppress(OSError):  # disk full; the next reload tries again
                self._marker.touch()


def startup_problem(settings: Settings) -> str | None:
    """Why the gateway must not start: other machines could reach it without an API key. None if it may."""
    if not settings.is_public:
        return None
    keyring = Keyring(settings)
    if keyring.usable:
        return None
    problem = (
        f"{settings.keys_file} has no valid key" if settings.keys_file else "GATEWAY_KEYS_FILE is not set"
    )
    return (
        f"other machines can reach {settings.public_address or settings.host}, but {problem}. "
        "Create a key first: make key NAME=me (without make: docker compose run --rm keys create me)"
    )

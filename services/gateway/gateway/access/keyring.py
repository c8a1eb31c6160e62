"""The keys that are in force in one worker: read at its start, and again whenever the file changes."""

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

LOOK_SECONDS = 2
NOBODY = bytes(32)  # compared with what names a key that is not there, so that this takes as long


class Keyring:
    """`is_open`: nobody needs a key. `file_ok`: what is in force is what the file says.

    `had_one` is a file that tells a worker, in the place of one that died, that there have been keys. If it
    does not find them any more, it must not let everybody in.
    """

    def __init__(self, settings: Settings, had_one: Path | None = None) -> None:
        self._path = Path(settings.keys_file) if settings.keys_file else None
        self._needed = settings.is_public
        self._keys: dict[str, Key] = {}
        self._seen: tuple[int, ...] | None = None
        self._had_one = had_one
        self._had_file = had_one is not None and had_one.exists()
        self.file_ok = True
        self.look()

    @property
    def is_open(self) -> bool:
        return not self._needed and not self._had_file

    @property
    def usable(self) -> int:
        """How many keys somebody could come in with."""
        return sum(not key.is_expired() for key in self._keys.values())

    def key_of(self, texts: Sequence[str]) -> Key | None:
        """The one that is valid of what was sent; None if nobody needs a key. Raises Unauthorized, and
        InvalidRequest where it could be either of two.
        """
        if self.is_open:
            return None
        if not texts:
            raise Unauthorized("a key is needed: send it as Authorization: Bearer … or as x-api-key")
        valid = [key for text in texts if (key := self._valid(text))]
        if not valid:
            raise InvalidKey("this key is not valid here, or no longer")
        if any(key.id != valid[0].id for key in valid):
            raise InvalidRequest("two different keys were sent, each of them valid; send one")
        return valid[0]

    def _valid(self, text: str) -> Key | None:
        key = self._keys.get(id_of(text))
        is_it = compare_digest(digest_of(text), key.digest if key else NOBODY)
        return key if key and is_it and not key.is_expired() else None

    async def watch(self) -> None:
        """For ever."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                # In a thread: reading thousands of keys takes longer than a stream may wait.
                await asyncio.to_thread(self.look)
            except Exception:
                # Whatever it was: without this loop a revoked key would be good for ever.
                structlog.get_logger().exception("defect", file=str(self._path))
                self.file_ok = False

    def look(self) -> None:
        """Takes the file if it has changed. One that cannot be used leaves in force what was before."""
        if not self._path:
            return
        try:
            status = os.stat(self._path)
            seen = (status.st_mtime_ns, status.st_size, status.st_ino)
            if seen == self._seen:
                self._need_keys()
                return
            keys = parse_keys(read_text(self._path))
        except FileNotFoundError:
            if self._had_file:
                self._refuse((), "it is gone")
            return
        except OSError as error:
            self._refuse((), error.strerror)
        except BadKeyFile as error:
            self._refuse(seen, str(error))
        else:
            if self._had_file:
                structlog.get_logger().info("keys", keys=len(keys))
            self._keys, self._seen, self.file_ok = keys, seen, True
            self._need_keys()

    def _refuse(self, seen: tuple[int, ...], reason: str | None) -> None:
        """Said once for each state of the file."""
        if seen != self._seen or self.file_ok:
            structlog.get_logger().error(
                "keys", file=str(self._path), problem=reason, in_force=f"{len(self._keys)} keys from before"
            )
        self._seen, self.file_ok = seen, False
        self._need_keys()

    def _need_keys(self) -> None:
        """From now on, for as long as this gateway runs."""
        self._had_file = True
        if self._had_one and not self._had_one.exists():
            with suppress(OSError):  # there is no room for it now
                self._had_one.touch()


def refusal(settings: Settings) -> str | None:
    """Why the gateway must not start with these settings: others could reach it, and nobody needs a key."""
    if not settings.is_public:
        return None
    keyring = Keyring(settings)
    if keyring.usable:
        return None
    there = f"no usable key in {settings.keys_file}" if settings.keys_file else "no GATEWAY_KEYS_FILE"
    return (
        f"other machines can reach {settings.public_address or settings.host}, and there is {there}. "
        "Make a key first: make key NAME=me (without make: docker compose run --rm keys create me)"
    )

"""Edits the key file atomically, under a lock, and leaves its other lines unchanged."""

import fcntl
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from .allow_list import AllowList
from .keys import HEADER, Key, new_key, parse_keys, parse_line, read_text
from .roles import Role
from .terms import DEFAULT_TERMS, Terms


class NoSuchKey(Exception):
    """No key has this name or id."""


class KeyFile:
    """Every method raises BadKeyFile and OSError."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> list[Key]:
        return list(parse_keys(self._read()).values())

    def create(
        self,
        name: str,
        role: Role,
        models: AllowList,
        expires: datetime | None,
        terms: Terms = DEFAULT_TERMS,
    ) -> str:
        """Add a key and return its text. Several keys may share a name."""
        with self._edited() as lines:
            text, key = new_key(name, role, models, expires, terms)
            lines.append(key.line())
        return text

    def change_terms(self, name_or_id: str, values: Mapping[str, Any]) -> int:
        """Change some terms of the keys with this name or id and return how many. Raises NoSuchKey."""
        count = 0
        with self._edited() as lines:
            for number, line in enumerate(lines):
                key = parse_line(line)
                if key and _matches(name_or_id, key):
                    count += 1
                    lines[number] = _rewritten(line, replace(key, terms=key.terms.changed(values)))
            if not count:
                raise NoSuchKey(name_or_id)
        return count

    def revoke(self, name_or_id: str) -> int:
        """Remove the keys with this name or id and return how many. Raises NoSuchKey."""
        with self._edited() as lines:
            matching = [line for line in lines if _matches(name_or_id, parse_line(line))]
            if not matching:
                raise NoSuchKey(name_or_id)
            lines[:] = [line for line in lines if line not in matching]
        return len(matching)

    def rotate(self, name_or_id: str, overlap: timedelta) -> str:
        """Add a key like the newest one of this name; the existing ones expire after `overlap`.

        Raises NoSuchKey.
        """
        ending = datetime.now(UTC) + overlap
        with self._edited() as lines:
            newest = None
            for number, line in enumerate(lines):
                key = parse_line(line)
                if key and _matches(name_or_id, key) and not key.is_expired():
                    newest = key
                    until = min(key.expires, ending) if key.expires else ending
                    lines[number] = _rewritten(line, replace(key, expires=until))
            if newest is None:
                raise NoSuchKey(name_or_id)
            text, key = new_key(newest.name, newest.role, newest.models, newest.expires, newest.terms)
            lines.append(key.line())
        return text

    def _read(self) -> str:
        try:
            return read_text(self._path)
        except FileNotFoundError:
            return HEADER

    @contextmanager
    def _edited(self) -> Iterator[list[str]]:
        """Yield the file's lines, and write them back unless the block raises."""
        folder = os.open(self._path.parent, os.O_RDONLY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            text = self._read()
            parse_keys(text)
            lines = text.splitlines()
            yield lines
            self._write("\n".join(lines) + "\n")
            os.fsync(folder)
        finally:
            os.close(folder)

    def _write(self, text: str) -> None:
        parse_keys(text)
        handle, temporary = tempfile.mkstemp(dir=self._path.parent, prefix=".keys-")  # with mode 0600
        try:
            with os.fdopen(handle, "w") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).replace(self._path)
        except BaseException:
            with suppress(FileNotFoundError):
                Path(temporary).unlink()
            raise


def _matches(name_or_id: str, key: Key | None) -> bool:
    return key is not None and name_or_id in (key.name, key.id)


def _rewritten(line: str, key: Key) -> str:
    """The key's line with the comment of its old one."""
    _, hash_sign, comment = line.partition("#")
    return key.line() + (f"  #{comment}" if hash_sign else "")

"""API keys and the format of the key file: one key per line, readable and editable by hand.

A key is `sk-sluice-<id>-<secret>`. The id is public, so that a leaked key can be identified; only a hash of
the whole key is stored. The secret has 256 random bits, so a fast hash is sufficient.
"""

import hashlib
import os
import re
import secrets
import stat
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from ..limits import NOTHING
from ..names import MODEL_PATTERN
from .allow_list import EVERY_MODEL, AllowList
from .roles import PERMISSIONS, Role
from .terms import DEFAULT_TERMS, Terms, parse_terms

PREFIX = "sk-sluice-"
ID = re.compile(r"[0-9a-f]{8}")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
MAX_BYTES = 1024 * 1024
HEADER = f"""\
# API keys of the gateway. `gateway keys` writes this file; lines may also be edited, commented and removed by
# hand. Changes take effect within seconds. {NOTHING} for models: all of them; for expires: never. Limits are
# optional, and look like requests=60/m;tokens=20k/m,1M/d;concurrent=2;max_output=500;weight=2
#
# id      name  role  models  expires  sha256  limits
"""


class BadKeyFile(Exception):
    """The file is invalid; the message gives line and reason, and never reveals a key."""


@dataclass(frozen=True)
class Key:
    id: str
    name: str
    role: Role
    digest: bytes = field(repr=False)
    models: AllowList = EVERY_MODEL
    expires: datetime | None = None
    terms: Terms = DEFAULT_TERMS

    def is_expired(self) -> bool:
        return self.expires is not None and self.expires <= datetime.now(UTC)

    def line(self) -> str:
        models = ",".join(self.models.patterns) or NOTHING
        expires = self.expires.strftime("%Y-%m-%dT%H:%M:%SZ") if self.expires else NOTHING
        fields = (self.id, self.name, self.role, models, expires, self.digest.hex(), str(self.terms))
        return "  ".join(filter(None, fields))


def new_key(
    name: str,
    role: Role,
    models: AllowList = EVERY_MODEL,
    expires: datetime | None = None,
    terms: Terms = DEFAULT_TERMS,
) -> tuple[str, Key]:
    """Generate a key: its text, for its owner, and the record to store."""
    public_id = secrets.token_hex(4)
    text = f"{PREFIX}{public_id}-{secrets.token_urlsafe(32)}"
    return text, Key(public_id, name, role, digest_of(text), models, expires, terms)


def digest_of(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def id_of(text: str) -> str:
    return text[len(PREFIX) :].partition("-")[0]


def read_text(path: Path) -> str:
    """Read a key file. Raises OSError, and BadKeyFile if it is not a regular file of text, or too large."""
    # Non-blocking: a FIFO or device might block or never end.
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise BadKeyFile("not a regular file")
        content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise BadKeyFile(f"larger than {MAX_BYTES} bytes, the maximum")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise BadKeyFile(f"byte {error.start} is not UTF-8") from None


def parse_keys(text: str) -> dict[str, Key]:
    """The keys of a file by id. Raises BadKeyFile."""
    keys: dict[str, Key] = {}
    for number, line in enumerate(text.splitlines(), 1):
        try:
            key = parse_line(line)
        except ValueError as error:
            raise BadKeyFile(f"line {number}: {error}") from None
        if key and key.id in keys:
            raise BadKeyFile(f"line {number}: the id {key.id} occurs twice")
        if key:
            keys[key.id] = key
    return keys


def parse_line(line: str) -> Key | None:
    """The key of one line, None for a comment. Raises ValueError with a message that reveals no secret."""
    fields = line.partition("#")[0].split()
    if not fields:
        return None
    if len(fields) not in (6, 7):
        raise ValueError("expected six fields, or seven: id, name, role, models, expires, sha256, limits")
    public_id, name, role, models, expires, digest, *terms = fields
    if not ID.fullmatch(public_id):
        raise ValueError("the id must be eight hexadecimal digits")
    if not re.fullmatch(r"[0-9a-f]{64}", digest):
        raise ValueError("sha256 must be 64 hexadecimal digits")
    return Key(
        public_id,
        check_name(name),
        check_role(role),
        bytes.fromhex(digest),
        allow_list(models),
        None if expires == NOTHING else _timestamp(expires),
        parse_terms(*terms) if terms else DEFAULT_TERMS,
    )


def check_name(name: str) -> str:
    """Raises ValueError."""
    if not NAME.fullmatch(name) or name.startswith(PREFIX):
        raise ValueError(
            "a name has at most 64 letters, digits and . _ @ -, and begins with a letter or digit"
        )
    if ID.fullmatch(name):
        raise ValueError("a name must not be eight hexadecimal digits, like an id")
    return name


def check_role(role: str) -> Role:
    """Raises ValueError."""
    if role not in PERMISSIONS:
        raise ValueError(f"unknown role {role[:20]}; use one of {', '.join(PERMISSIONS)}")
    return role


def allow_list(models: str) -> AllowList:
    """Parse patterns separated by commas. Raises ValueError."""
    if models == NOTHING:
        return EVERY_MODEL
    patterns = tuple(models.split(","))
    for pattern in patterns:
        if not MODEL_PATTERN.fullmatch(pattern):
            raise ValueError("models must be patterns separated by commas, like llama3*,smollm2:135m")
    return AllowList(patterns)


def _timestamp(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError("expires must be a time like 2027-01-31T12:00:00Z") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)

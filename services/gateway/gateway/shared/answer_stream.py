"""How an answer is kept in Valkey: its record, and the stream of its events.

An entry of the stream has one field, whose name says what it is. Its id begins with the position in the
answer at which it was written, so that a reader sees what is missing, and nothing is there twice.
"""

from typing import NamedTuple

from ..dialects.background import Background
from ..dialects.chat_sse import KeptChatSSE
from ..dialects.stream import Stream
from .link import Link, Part

# The first entry, and one that says that the answer is not kept any longer. None of them has a value.
BEGUN, GIVEN_UP, FRAMES, ENDED = b"begun", b"given_up", b"frames", b"ended"
# In the order of entries at the same position.
_ORDER = {BEGUN: 1, GIVEN_UP: 1, FRAMES: 2, ENDED: 3}

_FORMS: dict[str, type[KeptChatSSE] | type[Background]] = {"chat": KeptChatSSE, "responses": Background}


class Keys(NamedTuple):
    record: str
    stream: str


def keys_of(link: Link, answer_id: str) -> Keys:
    return Keys(link.key("answer", answer_id), link.key("answer", answer_id, "events"))


class Record(NamedTuple):
    """`home` is the member that makes the answer; the others are as in `Kept` and `Stream`."""

    owner: str
    form: str
    home: str
    request_id: str
    memo: bytes

    def parts(self) -> list[Part]:
        return [part for item in self._asdict().items() for part in item]


def form_of(dialect: Stream) -> str:
    return next(name for name, kind in _FORMS.items() if isinstance(dialect, kind))


def dialect_of(answer_id: str, record: Record, max_unit_bytes: int) -> Stream:
    """As it was when the record was written."""
    dialect: Stream
    if record.form == "chat":
        dialect = KeptChatSSE(max_unit_bytes)
    else:
        dialect = Background(max_unit_bytes, answer_id, "")
    dialect.recall(record.memo, 0)
    return dialect


class Entry(NamedTuple):
    position: int
    kind: bytes
    frames: bytes


def entry_id(position: int, kind: bytes) -> str:
    return f"{position}-{_ORDER[kind]}"


def entry(reply: tuple[bytes, list[bytes]]) -> Entry:
    """An entry as XRANGE has it."""
    found, (kind, frames) = reply
    return Entry(int(found.partition(b"-")[0]), kind, frames)


def channel_of(link: Link, member: str) -> str:
    """The channel of a gateway for `answer_messages`."""
    return link.key("reading", member)

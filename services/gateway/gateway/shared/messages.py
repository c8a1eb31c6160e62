"""What a gateway and the scheduler tell each other about turns."""

from typing import NamedTuple

import msgspec

from ..admission.turn import Standing
from ..ask.waiting import Used


class Entry(msgspec.Struct, array_like=True):
    """A turn as its gateway knows it, by the gateway's own `number`. Times are in seconds before now, since
    clocks differ: `entered`, and `started` and `failed`, None if it has not. `server` and `tried` are as in
    `Turn`.
    """

    number: int
    request_id: str
    caller: str
    model: str
    options: list[tuple[str, str]]
    weight: float
    cost: float
    prompt_cost: float
    conversation: int
    entered: float
    started: float | None
    server: str
    tried: list[str]
    failed: float | None


# From a gateway. Each begins with the epoch of the scheduler for whom it is.


class Sync(msgspec.Struct, tag=True, array_like=True):
    """All its turns, as they are: the scheduler forgets what else it knows of them."""

    epoch: int
    session: int
    turns: list[Entry]


class Enter(msgspec.Struct, tag=True, array_like=True):
    epoch: int
    turn: Entry


class EnterAgain(msgspec.Struct, tag=True, array_like=True):
    epoch: int
    number: int


class Leave(msgspec.Struct, tag=True, array_like=True):
    epoch: int
    number: int
    used: Used


# From the scheduler. Each begins with the session of the last `Sync`: what was decided before that is void.


class Begin(msgspec.Struct, tag=True, array_like=True):
    session: int
    number: int
    server: str


class Wait(msgspec.Struct, tag=True, array_like=True):
    """The turn waits in the queue."""

    session: int
    number: int


class Refuse(msgspec.Struct, tag=True, array_like=True):
    """The turn cannot wait; `of_caller` is whether its caller has too many that do."""

    session: int
    number: int
    message: str
    retry_after: int
    of_caller: bool


class Tell(msgspec.Struct, tag=True, array_like=True):
    """Tell me all your turns again: I know nothing of them. Unlike the others, this has the epoch."""

    epoch: int


class Standings(msgspec.Struct, tag=True, array_like=True):
    """Those that have changed, by number."""

    session: int
    standings: dict[int, Standing]


ToScheduler = Sync | Enter | EnterAgain | Leave
FromScheduler = Begin | Wait | Refuse | Standings | Tell


class Letter(NamedTuple):
    sender: str
    message: ToScheduler | FromScheduler


_DECODER = msgspec.msgpack.Decoder(Letter)
_ENCODER = msgspec.msgpack.Encoder()


def pack(sender: str, message: ToScheduler | FromScheduler) -> bytes:
    return _ENCODER.encode(Letter(sender, message))


def unpack(letter: bytes) -> Letter:
    """Raises msgspec.MsgspecError if another version of the gateway has sent it."""
    return _DECODER.decode(letter)

"""What gateways tell each other about answers that one makes and another reads."""

import msgspec


class Read(msgspec.Struct, tag=True, array_like=True):
    """To the one that makes the answer `id`: `member` goes on reading it, up to `position`. Within
    `READ_SECONDS` it says so again.
    """

    id: str
    member: str
    position: int


class Left(msgspec.Struct, tag=True, array_like=True):
    """`member` reads it no longer."""

    id: str
    member: str


class Here(msgspec.Struct, tag=True, array_like=True):
    """The reply to `Read`: the answer as it is, all of which is in Valkey by now, or soon. The others are as
    in `Kept` and `Stream`.
    """

    id: str
    position: int
    ended: bool
    status: bytes
    memo: bytes


class Grown(msgspec.Struct, tag=True, array_like=True):
    """There is more of these answers."""

    ids: list[str]


class Waits(msgspec.Struct, tag=True, array_like=True):
    """What an answer waits for has changed."""

    id: str
    status: bytes


ToHome = Read | Left
ToReader = Here | Grown | Waits

_DECODER: msgspec.msgpack.Decoder[ToHome | ToReader] = msgspec.msgpack.Decoder(ToHome | ToReader)
_ENCODER = msgspec.msgpack.Encoder()


def pack(message: ToHome | ToReader) -> bytes:
    return _ENCODER.encode(message)


def unpack(packed: bytes) -> ToHome | ToReader:
    """Raises msgspec.MsgspecError if another version of the gateway has sent it."""
    return _DECODER.decode(packed)

"""Who asks."""

from dataclasses import dataclass

from .allow_list import EVERY_MODEL, AllowList
from .roles import Role


@dataclass(frozen=True)
class Caller:
    """`name` is that of the caller's key, which may know of `models`; without keys everybody is `ANYBODY`."""

    name: str | None = None
    role: Role | None = None
    models: AllowList = EVERY_MODEL


ANYBODY = Caller()

"""The authenticated caller of a request."""

from dataclasses import dataclass

from .allow_list import EVERY_MODEL, AllowList
from .roles import Role


@dataclass(frozen=True)
class Caller:
    """Name, role and models of the caller's API key; without keys every caller is `ANONYMOUS`."""

    name: str | None = None
    role: Role | None = None
    models: AllowList = EVERY_MODEL


ANONYMOUS = Caller()

"""The authenticated caller of a request."""

import ipaddress
from dataclasses import dataclass
from functools import cached_property

from ..limits import NO_LIMITS, Limits
from ..settings import Settings
from .allow_list import EVERY_MODEL, AllowList
from .roles import Role


@dataclass(frozen=True)
class Caller:
    """The client's address, and the name, role, models, limits and weight of its API key; without keys, name
    and role are None and the limits are the settings'.
    """

    address: str
    name: str | None = None
    role: Role | None = None
    models: AllowList = EVERY_MODEL
    limits: Limits = NO_LIMITS
    weight: int = 1

    @cached_property
    def identity(self) -> str:
        """Who is limited: the key's name, which several keys may share, or else the address."""
        return self.name or network(self.address)


def is_admin(caller: Caller, settings: Settings) -> bool:
    """Whether the caller may manage models; without keys either everybody may or nobody."""
    return caller.role == "admin" if caller.name else settings.admin_api == "on"


def network(address: str) -> str:
    """The address; of IPv6 the /64, all of which belongs to one host."""
    if ":" not in address:
        return address
    try:
        parsed = ipaddress.IPv6Address(address)
    except ValueError:
        return address
    return str(parsed.ipv4_mapped or ipaddress.IPv6Network((int(parsed) >> 64 << 64, 64)))

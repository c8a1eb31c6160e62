"""The authenticated caller of a request."""

from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv6Address, IPv6Network

from .allow_list import EVERY_MODEL, AllowList
from .roles import Role


@dataclass(frozen=True)
class Caller:
    """`name`, `role`, `models` and `weight` are those of the caller's API key, if it has one. `weight` is its
    share of the slots while others wait. `address` is the client's IP address.
    """

    address: str
    name: str | None = None
    role: Role | None = None
    models: AllowList = EVERY_MODEL
    weight: int = 1

    @property
    def identity(self) -> str:
        """Whom requests are counted for: the name of the key, else the address. One host may have all the
        addresses of an IPv6 network of 64 bits.
        """
        if self.name:
            return self.name
        with suppress(ValueError):
            address = IPv6Address(self.address)
            return str(address.ipv4_mapped or IPv6Network((address, 64), strict=False))
        return self.address

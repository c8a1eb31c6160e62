"""The addresses on which the gateway listens."""

import socket
from typing import Any

import pytest

from gateway.server.listening import binds


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "localhost", "[::1]"])
def test_a_single_one_is_left_to_gunicorn(host: str) -> None:
    assert binds(host, 8001) == [f"{host}:8001"]


def test_of_several_names_only_the_addresses_of_this_machine_count(monkeypatch: pytest.MonkeyPatch) -> None:
    shared = {
        "inner": ["192.0.2.7", "127.0.0.5"],
        "metrics": ["127.0.0.6", "192.0.2.8"],
        "127.0.0.1": ["127.0.0.1"],
    }

    def lookup(host: str, *_: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0)) for address in shared[host]]

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    assert binds("127.0.0.1, inner,metrics", 8001) == ["127.0.0.1:8001", "127.0.0.5:8001", "127.0.0.6:8001"]


@pytest.mark.parametrize(
    ("hosts", "said"),
    [
        ("127.0.0.1,192.0.2.7", "none of the addresses of 192.0.2.7 is this machine's"),
        ("127.0.0.1,no.invalid", "no.invalid has no address"),
    ],
)
def test_a_name_without_an_address_of_this_machine_is_refused(hosts: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        binds(hosts, 8001)

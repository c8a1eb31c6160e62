"""Where the gateway listens."""

import errno
import socket


def binds(hosts: str, port: int) -> list[str]:
    """gunicorn's `bind` for GATEWAY_HOST: an address or a name, or several, separated by commas.

    Of several, a name stands for those of its addresses that this machine has: in containers, replicas share
    a name. Raises ValueError.
    """
    if "," not in hosts:
        return [f"{hosts}:{port}"]
    found = [address for host in hosts.split(",") for address in _own_addresses(host.strip())]
    return [f"{address}:{port}" for address in dict.fromkeys(found)]


def _own_addresses(host: str) -> list[str]:
    try:
        found = socket.getaddrinfo(host, None, socket.AF_INET, socket.SOCK_STREAM)
    except OSError as error:
        raise ValueError(f"{host} has no address: {error.strerror}") from None
    own = [str(address[0]) for *_, address in found if _is_own(str(address[0]))]
    if not own:
        raise ValueError(f"none of the addresses of {host} is this machine's")
    return own


def _is_own(address: str) -> bool:
    with socket.socket(socket.AF_INET) as probe:
        try:
            probe.bind((address, 0))
        except OSError as error:
            if error.errno != errno.EADDRNOTAVAIL:
                raise
            return False
    return True

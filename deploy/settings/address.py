"""The public address, as servers listen on it and as clients on this machine reach it."""

# A client cannot connect to "every address".
_LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104


def client_host(bind: str) -> str:
    return _LOOPBACK.get(bind, bind)


def host_and_port(host: str, port: int) -> str:
    """As in a URL or in nginx's `listen`: an IPv6 address stands in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

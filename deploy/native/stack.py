"""The native stack's addresses and ports, read from the environment."""

import os
import socket
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from deploy import ROOT
from deploy.settings.address import client_host, host_and_port
from deploy.settings.values import BIND, PORT, BadSetting, parse_port
from engine.models.catalogue import BUILT_IN_MODEL
from engine.settings import Settings as EngineSettings
from gateway.servers import ONLY, Server, parse_servers
from gateway.settings import Settings as GatewaySettings

BIN = ROOT / ".venv" / "bin"
# Each engine takes a few hundred megabytes.
MAX_ENGINES = 16


@dataclass(frozen=True)
class Stack:
    """`ollama_url` and `ollama_urls` are settings, of which one may be set; without them, engines answer."""

    bind: str
    port: int
    gateway_port: int
    engine_port: int
    ollama_url: str | None
    ollama_urls: str = ""
    engines: int = 1

    @property
    def listen(self) -> str:
        """What nginx listens on."""
        return host_and_port(self.bind, self.port)

    @property
    def url(self) -> str:
        """Where clients on this machine find it."""
        return f"http://{host_and_port(client_host(self.bind), self.port)}"

    @property
    def is_embedded(self) -> bool:
        return not self.ollama_url and not self.ollama_urls

    @property
    def servers(self) -> tuple[Server, ...]:
        """The model servers; at least one."""
        if self.ollama_urls:
            return parse_servers(self.ollama_urls)
        if self.ollama_url:
            return (Server(self.ollama_url, ONLY),)
        urls = [f"http://127.0.0.1:{self.engine_port + number}" for number in range(self.engines)]
        if len(urls) == 1:
            return (Server(urls[0], ONLY),)
        return tuple(Server(url, f"engine{number}") for number, url in enumerate(urls, 1))

    @property
    def folder(self) -> Path:
        return runtime_dir(self.port)


def runtime_dir(port: int) -> Path:
    """One for each public port, so that two stacks do not get in each other's way."""
    return ROOT / ".run" / str(port)


def keys_file() -> str:
    return os.environ.get("GATEWAY_KEYS_FILE") or str(ROOT / "deploy" / "keys" / "keys")


def needs_key() -> bool:
    return Path(keys_file()).exists()


def default_model(stack: Stack) -> str:
    """Empty if any will do."""
    return os.environ.get("GATEWAY_DEFAULT_MODEL") or (BUILT_IN_MODEL if stack.is_embedded else "")


def read_stack() -> Stack:
    """Raises BadSetting."""
    if (os.environ.get("TLS") or "off") != "off":
        raise BadSetting("TLS works only in containers (`make up`); without Docker, set TLS=off")
    ollama_url, ollama_urls, engines = os.environ.get("OLLAMA_URL") or None, _ollama_urls(), _engines()
    if ollama_url and ollama_urls:
        raise BadSetting("OLLAMA_URL and OLLAMA_URLS are both set; leave one of them empty")
    if engines > 1 and (ollama_url or ollama_urls):
        variable = "OLLAMA_URL" if ollama_url else "OLLAMA_URLS"
        raise BadSetting(
            f"SERVERS={engines} starts embedded engines, and {variable} uses none; set one of them"
        )
    return Stack(
        bind=os.environ.get("BIND") or BIND,
        port=_port("PORT", PORT),
        gateway_port=_port("GATEWAY_PORT", GatewaySettings.model_fields["port"].default),
        engine_port=_port("ENGINE_PORT", EngineSettings.model_fields["port"].default),
        ollama_url=ollama_url,
        ollama_urls=ollama_urls,
        engines=engines,
    )


def _ollama_urls() -> str:
    value = os.environ.get("OLLAMA_URLS") or ""
    try:
        return value if parse_servers(value) else ""
    except ValueError as error:
        raise BadSetting(f"OLLAMA_URLS: {error}") from None


def _engines() -> int:
    value = os.environ.get("SERVERS") or "1"
    if not value.isdecimal() or not 1 <= int(value) <= MAX_ENGINES:
        raise BadSetting(f"SERVERS must be a number of engines from 1 to {MAX_ENGINES}, not {value!r}")
    return int(value)


def _port(variable: str, default: int) -> int:
    return parse_port(variable, os.environ.get(variable) or str(default))


def check_ports(stack: Stack) -> None:
    """Raises BadSetting for two equal ports, and for the first port that cannot be listened on."""
    engines = _engine_ports(stack)
    ports = {"PORT": stack.port, "GATEWAY_PORT": stack.gateway_port, **engines}
    for (one, port), (other, second) in combinations(ports.items(), 2):
        if port == second:
            raise BadSetting(f"{one} and {other} are both {port}; choose another {one}=…")
    _check_port(stack.bind, stack.port, "PORT")
    _check_port("127.0.0.1", stack.gateway_port, "GATEWAY_PORT")
    for port in engines.values():
        _check_port("127.0.0.1", port, "ENGINE_PORT")


def _engine_ports(stack: Stack) -> dict[str, int]:
    """By how each follows from the setting. Raises BadSetting."""
    if not stack.is_embedded:
        return {}
    if stack.engine_port + stack.engines - 1 > 65535:
        raise BadSetting(
            f"after port {stack.engine_port} there are not enough for {stack.engines} engines; "
            "choose a lower ENGINE_PORT=…"
        )
    return {
        f"ENGINE_PORT + {number}" if number else "ENGINE_PORT": stack.engine_port + number
        for number in range(stack.engines)
    }


def _check_port(address: str, port: int, variable: str) -> None:
    try:
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((address, port))
    except OSError as error:
        raise BadSetting(
            f"port {port} on {address} cannot be used ({error.strerror}); "
            f"stop what uses it, or choose another port with {variable}=…"
        ) from None

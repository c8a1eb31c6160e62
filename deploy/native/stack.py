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
from gateway.settings import Settings as GatewaySettings

BIN = ROOT / ".venv" / "bin"


@dataclass(frozen=True)
class Stack:
    """`ollama_url` is None when the embedded engine answers."""

    bind: str
    port: int
    gateway_port: int
    engine_port: int
    ollama_url: str | None

    @property
    def listen(self) -> str:
        """What nginx listens on."""
        return host_and_port(self.bind, self.port)

    @property
    def url(self) -> str:
        """Where clients on this machine find it."""
        return f"http://{host_and_port(client_host(self.bind), self.port)}"

    @property
    def upstream_url(self) -> str:
        return self.ollama_url or f"http://127.0.0.1:{self.engine_port}"

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
    return os.environ.get("GATEWAY_DEFAULT_MODEL") or ("" if stack.ollama_url else BUILT_IN_MODEL)


def read_stack() -> Stack:
    """Raises BadSetting."""
    if (os.environ.get("TLS") or "off") != "off":
        raise BadSetting("TLS works only in containers (`make up`); without Docker, set TLS=off")
    return Stack(
        bind=os.environ.get("BIND") or BIND,
        port=_port("PORT", PORT),
        gateway_port=_port("GATEWAY_PORT", GatewaySettings.model_fields["port"].default),
        engine_port=_port("ENGINE_PORT", EngineSettings.model_fields["port"].default),
        ollama_url=os.environ.get("OLLAMA_URL") or None,
    )


def _port(variable: str, default: int) -> int:
    return parse_port(variable, os.environ.get(variable) or str(default))


def check_ports(stack: Stack) -> None:
    """Raises BadSetting for two equal ports, and for the first port that cannot be listened on."""
    ports = {"PORT": stack.port, "GATEWAY_PORT": stack.gateway_port}
    if not stack.ollama_url:
        ports["ENGINE_PORT"] = stack.engine_port
    for (one, port), (other, second) in combinations(ports.items(), 2):
        if port == second:
            raise BadSetting(f"{one} and {other} are both {port}; choose another {one}=…")
    _check_port(stack.bind, stack.port, "PORT")
    _check_port("127.0.0.1", stack.gateway_port, "GATEWAY_PORT")
    if not stack.ollama_url:
        _check_port("127.0.0.1", stack.engine_port, "ENGINE_PORT")


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

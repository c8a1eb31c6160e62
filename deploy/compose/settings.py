"""The settings of the stack in containers, from the environment and from .env."""

import ipaddress
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from deploy import ROOT
from deploy.settings import dotenv
from deploy.settings.address import client_host, host_and_port
from deploy.settings.values import BIND, MODEL, PORT, BadSetting, parse_port

# The service that runs the model in each profile. Without a profile it is cpu.
MODEL_SERVERS = {"cpu": "ollama", "gpu": "ollama-gpu", "amd": "ollama-amd", "embedded": "engine"}
# The profile without one of them: the gateway uses the servers in OLLAMA_URLS.
EXTERNAL = "external"
# The machine that Docker runs on, as containers know it.
HOST = "host.docker.internal"
OLLAMA_ON_HOST = f"http://{HOST}:11434"
# The profiles that may be added to one of these.
MONITORING = "monitoring"
SHARED = "shared"
# Where the gateways find the address of Valkey. Once the profile has been started, the file stays.
SHARED_URL_FILE = "/shared/url"
LOOPBACK = "127.0.0.1"

_MEMORY = re.compile(r"(?P<number>\d+(?:\.\d+)?)(?P<unit>[bkmg]?)b?", re.IGNORECASE)
_UNITS = {"": 1, "b": 1, "k": 2**10, "m": 2**20, "g": 2**30}


class ModelServer(NamedTuple):
    """One of OLLAMA_URLS; `url` is without a password."""

    url: str
    host: str
    port: int
    has_password: bool


@dataclass(frozen=True)
class Settings:
    project: str
    profile: str
    monitoring: bool
    shared: bool  # whether several gateways share their state
    shared_url_file: str
    bind: str
    port: int
    tls: bool
    tls_dir: Path
    http_port: int
    models: tuple[str, ...]
    ollama_urls: str = field(repr=False)  # it may have passwords
    ollama_memory: int  # bytes; 0 is no limit
    device_gids: Mapping[str, int]  # by variable
    gpu_expected: str  # on or off
    grafana_port: int
    prometheus_port: int
    has_grafana_password: bool
    api_key: str = field(repr=False)

    @property
    def servers(self) -> tuple[ModelServer, ...]:
        """Those in OLLAMA_URLS; none if the model server is the stack's own."""
        return tuple(_server(entry) for entry in self.ollama_urls.split(",") if entry.strip())

    @property
    def profiles(self) -> str:
        """As in COMPOSE_PROFILES."""
        added = {MONITORING: self.monitoring, SHARED: self.shared}
        return ",".join((self.profile, *(name for name, active in added.items() if active)))

    @property
    def host(self) -> str:
        """Where clients on this machine find it."""
        return client_host(self.bind)

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://{host_and_port(self.host, self.port)}"

    @property
    def published_ports(self) -> dict[str, tuple[str, int]]:
        """Address and port, by the variable of the port."""
        ports = {"PORT": (self.bind, self.port)}
        if self.tls:
            ports["HTTP_PORT"] = (self.bind, self.http_port)
        if self.monitoring:
            ports["GRAFANA_PORT"] = (LOOPBACK, self.grafana_port)
            ports["PROMETHEUS_PORT"] = (LOOPBACK, self.prometheus_port)
        return ports

    @property
    def certificate(self) -> Path:
        return self.tls_dir / "fullchain.pem"

    @property
    def key(self) -> Path:
        return self.tls_dir / "privkey.pem"


def read_settings(environment: Mapping[str, str] = os.environ, env_file: Path = ROOT / ".env") -> Settings:
    """Raises BadSetting for the first variable that cannot be used."""
    variables = {**dotenv.read(env_file, environment), **environment}

    def get(name: str, default: str) -> str:
        return variables.get(name) or default

    profile, added = _profiles(get("COMPOSE_PROFILES", "cpu"))
    return Settings(
        project=get("COMPOSE_PROJECT_NAME", "sluice"),
        profile=profile,
        monitoring=MONITORING in added,
        shared=SHARED in added,
        shared_url_file=get("GATEWAY_SHARED_URL_FILE", SHARED_URL_FILE if SHARED in added else ""),
        bind=_address(get("BIND", BIND)),
        port=parse_port("PORT", get("PORT", str(PORT))),
        tls=_on_or_off("TLS", get("TLS", "off")),
        tls_dir=_absolute("TLS_DIR", get("TLS_DIR", str(ROOT / "deploy/tls"))),
        http_port=parse_port("HTTP_PORT", get("HTTP_PORT", "8080")),
        models=tuple(get("MODELS", MODEL).replace(",", " ").split()),
        ollama_urls=_ollama_urls(get("OLLAMA_URLS", OLLAMA_ON_HOST if profile == EXTERNAL else "")),
        ollama_memory=_memory("OLLAMA_MEMORY", get("OLLAMA_MEMORY", "8g")),
        device_gids={
            name: _gid(name, get(name, default))
            for name, default in (("VIDEO_GID", "44"), ("RENDER_GID", "109"))
        },
        api_key=get("SLUICE_KEY", ""),
        gpu_expected=get("GATEWAY_GPU_EXPECTED", "on" if profile in ("gpu", "amd") else "off"),
        grafana_port=parse_port("GRAFANA_PORT", get("GRAFANA_PORT", "3000")),
        prometheus_port=parse_port("PROMETHEUS_PORT", get("PROMETHEUS_PORT", "9090")),
        has_grafana_password=bool(get("GRAFANA_PASSWORD", "")),
    )


def _profiles(value: str) -> tuple[str, set[str]]:
    """The profile of the model server, and those that are added to it."""
    names = {name.strip() for name in value.split(",") if name.strip()}
    added = names & {MONITORING, SHARED}
    servers = list(names - added)
    if added and not servers:
        also = ",".join(sorted(added))
        raise BadSetting(
            f"the profile {also} alone starts no model server; add one, as in "
            f"PROFILE=cpu,{also}, or in .env COMPOSE_PROFILES=cpu,{also}"
        )
    if len(servers) != 1 or servers[0] not in (*MODEL_SERVERS, EXTERNAL):
        raise BadSetting(
            f"{value!r} is not a valid profile. Choose one of {', '.join([*MODEL_SERVERS, EXTERNAL])}, and "
            f"add ,{MONITORING} or ,{SHARED} if you like: with PROFILE=, or COMPOSE_PROFILES= in .env"
        )
    return servers[0], added


def _ollama_urls(value: str) -> str:
    for entry in value.split(","):
        if entry.strip():
            _server(entry)
    return value


def _server(entry: str) -> ModelServer:
    """The URL comes first; the rest is for the gateway. Raises BadSetting, without the URL's password."""
    try:
        parts = urlsplit(entry.split()[0])
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        parts, port = urlsplit(""), 0
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise BadSetting("OLLAMA_URLS must be URLs like http://gpu1:11434, separated by commas")
    netloc = parts.netloc.rpartition("@")[2]
    return ModelServer(parts._replace(netloc=netloc).geturl(), parts.hostname, port, netloc != parts.netloc)


def _address(value: str) -> str:
    address = value.strip("[]")
    try:
        ipaddress.ip_address(address)
    except ValueError:
        raise BadSetting(
            f"BIND must be an IP address of this machine, such as 127.0.0.1 or 0.0.0.0, not {value!r}"
        ) from None
    return address


def _absolute(variable: str, value: str) -> Path:
    if not Path(value).is_absolute():
        raise BadSetting(f"{variable} must be an absolute path, or empty for deploy/tls, not {value!r}")
    return Path(value)


def _gid(variable: str, value: str) -> int:
    if not value.isdecimal() or int(value) >= 2**32:
        raise BadSetting(f"{variable} must be the number of a group, not {value!r}")
    return int(value)


def _on_or_off(variable: str, value: str) -> bool:
    if value not in ("on", "off"):
        raise BadSetting(f"{variable} must be on or off, not {value!r}")
    return value == "on"


def _memory(variable: str, value: str) -> int:
    match = _MEMORY.fullmatch(value)
    if match is None:
        raise BadSetting(f"{variable} must be an amount of memory such as 8g or 512m, not {value!r}")
    return int(float(match["number"]) * _UNITS[match["unit"].lower()])

"""The settings of the container stack, from the environment and from .env as Compose reads it."""

import ipaddress
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# The service that answers in each profile. No profile at all means cpu.
MODEL_SERVERS = {"cpu": "ollama", "gpu": "ollama-gpu", "amd": "ollama-amd", "embedded": "engine"}
# What may be active beside one of these.
MONITORING = "monitoring"
LOOPBACK = "127.0.0.1"

_LINE = re.compile(
    r"""^[ \t]*(?:export[ \t]+)?(?P<name>[A-Za-z_]\w*)[ \t]*=[ \t]*
        (?:'(?P<literal>[^']*)'|"(?P<quoted>(?:\\.|[^"\\])*)"|(?P<plain>[^\n]*))""",
    re.MULTILINE | re.VERBOSE | re.DOTALL,
)
_REFERENCE = re.compile(r"\$(?:(?P<bare>[A-Za-z_]\w*)|\{(?P<name>\w+)(?::?-(?P<default>[^}]*))?\})")
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r"}
_MEMORY = re.compile(r"(?P<number>\d+(?:\.\d+)?)(?P<unit>[bkmg]?)b?", re.IGNORECASE)
_UNITS = {"": 1, "b": 1, "k": 2**10, "m": 2**20, "g": 2**30}


class BadSetting(Exception):
    """The stack cannot run with this environment; the message names the variable."""


@dataclass(frozen=True)
class Settings:
    """What the stack is told from outside."""

    project: str
    profile: str
    monitoring: bool
    bind: str
    port: int
    tls: bool
    tls_dir: Path
    http_port: int
    models: tuple[str, ...]
    ollama_memory: int  # bytes; 0 is no limit
    device_gids: Mapping[str, int]  # by the variable that sets it
    gpu_expected: str  # on or off
    grafana_port: int
    prometheus_port: int
    grafana_password: bool  # whether there is one
    api_key: str = field(repr=False)

    @property
    def profiles(self) -> str:
        """As COMPOSE_PROFILES has them."""
        return f"{self.profile},{MONITORING}" if self.monitoring else self.profile

    @property
    def host(self) -> str:
        """Where clients on this machine find it."""
        return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.bind, self.bind)  # noqa: S104

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.tls else 'http'}://{host}:{self.port}"

    @property
    def published_ports(self) -> dict[str, tuple[str, int]]:
        """Addresses and ports, by the variable that sets the port."""
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


def read_settings(environment: Mapping[str, str] = os.environ, dotenv: Path = ROOT / ".env") -> Settings:
    """Raises BadSetting for the first variable that cannot be used."""
    variables = {**_read_dotenv(dotenv, environment), **environment}

    def get(name: str, default: str) -> str:
        return variables.get(name) or default

    profile, monitoring = _profiles(get("COMPOSE_PROFILES", "cpu"))
    return Settings(
        project=get("COMPOSE_PROJECT_NAME", "sluice"),
        profile=profile,
        monitoring=monitoring,
        bind=_address(get("BIND", "127.0.0.1")),
        port=_number("PORT", get("PORT", "8000"), 1, 65535),
        tls=_on_or_off("TLS", get("TLS", "off")),
        tls_dir=_absolute("TLS_DIR", get("TLS_DIR", str(ROOT / "deploy/tls"))),
        http_port=_number("HTTP_PORT", get("HTTP_PORT", "8080"), 1, 65535),
        models=tuple(get("MODELS", "qwen2.5:1.5b").replace(",", " ").split()),
        ollama_memory=_memory("OLLAMA_MEMORY", get("OLLAMA_MEMORY", "8g")),
        device_gids={
            name: _number(name, get(name, default), 0, 2**32 - 1)
            for name, default in (("VIDEO_GID", "44"), ("RENDER_GID", "109"))
        },
        api_key=get("SLUICE_KEY", ""),
        gpu_expected=get("GATEWAY_GPU_EXPECTED", "on" if profile in ("gpu", "amd") else "off"),
        grafana_port=_number("GRAFANA_PORT", get("GRAFANA_PORT", "3000"), 1, 65535),
        prometheus_port=_number("PROMETHEUS_PORT", get("PROMETHEUS_PORT", "9090"), 1, 65535),
        grafana_password=bool(get("GRAFANA_PASSWORD", "")),
    )


def _read_dotenv(path: Path, environment: Mapping[str, str]) -> dict[str, str]:
    try:
        text = path.read_text()
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise BadSetting(f"{path.name} cannot be read: {error}") from None
    return parse_dotenv(text, environment)


def parse_dotenv(text: str, environment: Mapping[str, str]) -> dict[str, str]:
    """Compose's syntax: comments, quotes, `export`, and references to the variables before."""
    values: dict[str, str] = {}

    def resolve(reference: re.Match[str]) -> str:
        name = reference["bare"] or reference["name"]
        return environment.get(name) or values.get(name) or reference["default"] or ""

    for line in _LINE.finditer(text):
        if line["literal"] is not None:
            value = line["literal"]
        elif line["quoted"] is not None:
            value = _REFERENCE.sub(resolve, line["quoted"])
            value = re.sub(r"\\(.)", lambda escape: _ESCAPES.get(escape[1], escape[1]), value)
        else:
            value = _REFERENCE.sub(resolve, re.sub(r"(^|\s)#.*", "", line["plain"]).strip())
        values[line["name"]] = value
    return values


def _profiles(value: str) -> tuple[str, bool]:
    """The one that brings the model server, and whether monitoring is beside it."""
    names = {name.strip() for name in value.split(",") if name.strip()}
    servers = list(names - {MONITORING})
    if names == {MONITORING}:
        raise BadSetting(
            f"the profile {MONITORING} alone starts no model server: put one in front of it, "
            f"PROFILE=cpu,{MONITORING} or COMPOSE_PROFILES=cpu,{MONITORING} in .env"
        )
    if len(servers) != 1 or servers[0] not in MODEL_SERVERS:
        raise BadSetting(
            f"the profile is {value!r}, but there are only {', '.join(MODEL_SERVERS)}, one at a time, "
            f"and {MONITORING} beside it: name it with PROFILE= or with COMPOSE_PROFILES= in .env"
        )
    return servers[0], MONITORING in names


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


def _number(variable: str, value: str, least: int, most: int) -> int:
    if not value.isdecimal() or not least <= int(value) <= most:
        raise BadSetting(f"{variable} must be a number between {least} and {most}, not {value!r}")
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

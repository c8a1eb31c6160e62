"""The Docker Engine that the docker command talks to, and the plugins of that command."""

import json
import shutil
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from containers import CommandFailed, execute


@dataclass(frozen=True)
class Docker:
    """What `docker info` tells. Without an Engine that answers, `error` says why and the rest is empty."""

    error: str
    version: str
    system: str
    root_dir: str
    memory: int
    runtimes: frozenset[str]
    cdi_devices: tuple[str, ...]
    rootless: bool
    plugins: Mapping[str, str]
    is_here: bool

    @property
    def answers(self) -> bool:
        return not self.error


def probe() -> Docker | None:
    """None when there is no docker command."""
    if shutil.which("docker") is None:
        return None
    try:
        # On an error the command still tells of itself, on its standard output.
        process = execute("docker", "info", "--format", "{{json .}}")
        told = json.loads(process.stdout or "{}")
    except CommandFailed as failed:
        return _docker({}, str(failed))
    except ValueError:
        return _docker({}, f"`docker info` makes no sense: {process.stdout[:80]!r}")
    errors = "; ".join(told.get("ServerErrors") or ()) or process.stderr.strip()
    if told.get("ServerVersion"):
        return _docker(told, "")
    return _docker(told, errors or "`docker info` tells of no Engine; is this docker command Podman's?")


def _docker(told: Mapping[str, Any], error: str) -> Docker:
    name, system = told.get("Name"), str(told.get("OperatingSystem") or "")
    plugins = (told.get("ClientInfo") or {}).get("Plugins") or ()
    return Docker(
        error=error,
        version=str(told.get("ServerVersion") or ""),
        system=system,
        root_dir=str(told.get("DockerRootDir") or ""),
        memory=int(told.get("MemTotal") or 0),
        runtimes=frozenset(told.get("Runtimes") or ()),
        cdi_devices=tuple(device.get("ID", "") for device in told.get("DiscoveredDevices") or ()),
        rootless=any("name=rootless" in option for option in told.get("SecurityOptions") or ()),
        plugins={
            plugin["Name"]: str(plugin.get("Version") or "") for plugin in plugins if "Err" not in plugin
        },
        # Docker Desktop's Engine is in a virtual machine, and DOCKER_HOST may name any other machine.
        is_here=bool(error) or (name == socket.gethostname() and "Docker Desktop" not in system),
    )

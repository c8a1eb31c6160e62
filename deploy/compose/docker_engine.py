"""The Docker Engine behind the docker command, and the plugins of that command."""

import json
import shutil
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from deploy.compose.docker_cli import CommandFailed, execute


@dataclass(frozen=True)
class Docker:
    """From `docker info`. If no Engine answers, `error` says why and the rest is empty.

    `is_here`: whether the Engine runs on this machine, so that its disks and ports can be checked.
    """

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
    """None if there is no docker command."""
    if shutil.which("docker") is None:
        return None
    try:
        # On an error, standard output still describes the command itself.
        process = execute("docker", "info", "--format", "{{json .}}")
        info = json.loads(process.stdout or "{}")
    except CommandFailed as failed:
        return _docker({}, str(failed))
    except ValueError:
        return _docker({}, f"`docker info` is not JSON: {process.stdout[:80]!r}")
    errors = "; ".join(info.get("ServerErrors") or ()) or process.stderr.strip()
    if info.get("ServerVersion"):
        return _docker(info, "")
    return _docker(info, errors or "`docker info` shows no Engine; is this docker command Podman's?")


def _docker(info: Mapping[str, Any], error: str) -> Docker:
    name, system = info.get("Name"), str(info.get("OperatingSystem") or "")
    plugins = (info.get("ClientInfo") or {}).get("Plugins") or ()
    return Docker(
        error=error,
        version=str(info.get("ServerVersion") or ""),
        system=system,
        root_dir=str(info.get("DockerRootDir") or ""),
        memory=int(info.get("MemTotal") or 0),
        runtimes=frozenset(info.get("Runtimes") or ()),
        cdi_devices=tuple(device.get("ID", "") for device in info.get("DiscoveredDevices") or ()),
        rootless=any("name=rootless" in option for option in info.get("SecurityOptions") or ()),
        plugins={
            plugin["Name"]: str(plugin.get("Version") or "") for plugin in plugins if "Err" not in plugin
        },
        # Docker Desktop's Engine runs in a virtual machine, and DOCKER_HOST may be any other machine.
        is_here=bool(error) or (name == socket.gethostname() and "Docker Desktop" not in system),
    )

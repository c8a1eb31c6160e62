"""Do the model servers elsewhere answer, as the gateway's container would reach them?"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from deploy.compose import probe
from deploy.compose.checks.result import Result, fail, ok, warn
from deploy.compose.docker_cli import CommandFailed, run
from deploy.compose.docker_engine import Docker
from deploy.compose.settings import EXTERNAL, HOST, ModelServer, Settings

OWN = "model-server"  # the one in the stack
FIREWALL = "sudo ufw allow from 172.16.0.0/12 to any port {} proto tcp"


def check_servers(settings: Settings, docker: Docker | None) -> Iterator[Result]:
    """Nothing where the model server is the stack's own. One of several may be down: the others answer."""
    if settings.profile != EXTERNAL and settings.servers and not _names_own(settings):
        yield warn(
            f"OLLAMA_URLS is set, so nothing is sent to the model server of the profile {settings.profile}",
            f"Use the profile {EXTERNAL}, or add http://{OWN}:11434 to OLLAMA_URLS",
        )
    servers = [server for server in settings.servers if server.host != OWN]
    if not servers:
        return
    bridge = _bridge()
    found = _from_container(servers)
    if found is None:
        found = [probe.probe(server.url, bridge if server.host == HOST else "") for server in servers]
        yield warn(
            "whether model servers answer is checked from outside of containers: before the first start "
            "there is no image"
        )
    down = fail if not any("status" in answer for answer in found) else warn
    for server, answer in zip(servers, found, strict=True):
        if "status" not in answer:
            here = docker is None or docker.is_here
            yield down(
                f"no model server answers at {server.url}: {answer['reason']}",
                _fix(server, answer, bridge, here),
            )
        elif answer["status"] != "200" and not server.has_password:
            yield warn(f"what answers at {server.url} is no Ollama: status {answer['status']}")
        else:
            version = f", version {answer['version']}" if answer["version"] else ""
            yield ok(f"a model server answers at {server.url}{version}")


def _names_own(settings: Settings) -> bool:
    return any(server.host == OWN for server in settings.servers)


def _from_container(servers: list[ModelServer]) -> list[dict[str, str]] | None:
    """None if that is impossible, as before the first start, when there is no image yet."""
    try:
        title = "label=org.opencontainers.image.title=Sluice gateway"
        images = run("docker", "image", "ls", "--quiet", "--filter", title).split()
        if not images:
            return None
        where = [
            "--network",
            "bridge",
            "--add-host",
            f"{HOST}:host-gateway",
            "--read-only",
            "--cap-drop",
            "ALL",
        ]
        code = Path(probe.__file__).read_text()
        command = ["--entrypoint", "python", images[0], "-I", "-c", code, *(server.url for server in servers)]
        found = json.loads(run("docker", "run", "--rm", *where, *command))
    except (CommandFailed, OSError, ValueError):
        return None
    return found if isinstance(found, list) and len(found) == len(servers) else None


def _bridge() -> str:
    """The address of this machine at which containers reach it."""
    template = "{{range .IPAM.Config}}{{.Gateway}} {{end}}"
    try:
        gateways = run("docker", "network", "inspect", "bridge", "--format", template).split()
    except CommandFailed:
        gateways = []
    return next((gateway for gateway in gateways if ":" not in gateway), "172.17.0.1")


def _fix(server: ModelServer, answer: Mapping[str, str], bridge: str, docker_is_here: bool) -> str:
    if server.host == HOST:
        return _fix_here(server, answer, bridge, docker_is_here)
    if answer["kind"] == "refused":
        return (
            "Start Ollama on that machine, with OLLAMA_HOST=0.0.0.0: by default it listens on 127.0.0.1, "
            "which no other machine reaches"
        )
    if answer["kind"] == "unknown":
        return "Containers do not read /etc/hosts of this machine: put the IP address into OLLAMA_URLS"
    allow = f"sudo ufw allow {server.port}/tcp"
    return f"Is the machine on, and does its firewall let this one in? With ufw, there: {allow}"


def _fix_here(server: ModelServer, answer: Mapping[str, str], bridge: str, docker_is_here: bool) -> str:
    if answer["kind"] == "silent":
        return f"A firewall on this machine keeps containers out. With ufw: {FIREWALL.format(server.port)}"
    if not docker_is_here:
        return "Start Ollama on the machine that Docker runs on"
    local = server.url.replace(HOST, "127.0.0.1")
    listens = (
        f"Set OLLAMA_HOST=0.0.0.0 for it, or {bridge}, which other machines do not reach: "
        f"sudo systemctl edit ollama, then the lines [Service] and Environment=OLLAMA_HOST={bridge}, then "
        "sudo systemctl restart ollama"
    )
    if "status" in probe.probe(local):
        return f"It runs, but listens on 127.0.0.1 only, which containers do not reach. {listens}"
    return f"Start Ollama on this machine. {listens}"

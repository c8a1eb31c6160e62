"""`make verify` for the stack in containers: the gateway's own image asks, from the host's network.

So the record has the versions that are running, and nothing has to be installed. Standard library alone.
"""

import argparse
import os
from pathlib import Path

from deploy.compose.docker_cli import (
    CommandFailed,
    Container,
    compose,
    execute,
    list_containers,
    run,
    run_in_foreground,
)
from deploy.compose.settings import Settings, read_settings
from deploy.settings.values import BadSetting
from deploy.terminal.command import exit_with
from deploy.terminal.messages import say

TRUSTED = "/trusted.pem"


def verify(settings: Settings, url: str, out: str | None) -> int:
    """Returns the exit status of `gateway verify`. Raises CommandFailed."""
    containers = {container.service: container for container in list_containers() if container.running}
    if "gateway" not in containers:
        raise CommandFailed("No gateway is running in a container here. Start it: make up")
    gateway = containers["gateway"].name
    image = run("docker", "inspect", "--format", "{{.Image}}", gateway).strip()
    command = ["verify", "--url", url]
    mounts: list[str] = []
    if url.replace("localhost", "127.0.0.1").rstrip("/") == settings.url:
        for name, version in _versions(containers).items():
            command += ["--program", f"{name}={version}"]
        if settings.tls:
            mounts += ["--volume", f"{settings.certificate}:{TRUSTED}:ro"]
            command += ["--cacert", TRUSTED]
    if model := os.environ.get("MODEL"):
        command += ["--model", model]
    if out:
        file = Path(out).absolute()
        if not file.parent.is_dir():
            raise CommandFailed(f"The directory {file.parent} does not exist")
        mounts += ["--volume", f"{file.parent}:{file.parent}"]
        command += ["--out", str(file)]
    user = ["--user", f"{os.getuid()}:{os.getgid()}"]
    hardened = ["--read-only", "--cap-drop", "ALL", "--env", "SLUICE_KEY"]
    start = ["docker", "run", "--rm", "--network", "host", *user, *hardened, *mounts, image]
    environment = {**os.environ, "SLUICE_KEY": settings.api_key}
    return run_in_foreground(*start, *command, environment=environment)


def _versions(containers: dict[str, Container]) -> dict[str, str]:
    """Those that cannot be learned through the published port."""
    nginx = execute("docker", "exec", containers["nginx"].name, "nginx", "-v").stderr
    return {
        "nginx": nginx.partition("nginx/")[2].strip(),
        "Docker Engine": run("docker", "version", "--format", "{{.Server.Version}}").strip(),
        "Compose": compose("version", "--short").strip(),
    }


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m deploy.compose.verify", description=__doc__)
    parser.add_argument("--url", help="where clients reach it (default: from BIND and PORT)")
    parser.add_argument("--out", help="also write the record to this file, as JSON")
    arguments = parser.parse_args()
    try:
        settings = read_settings()
        return verify(settings, arguments.url or settings.url, arguments.out)
    except (BadSetting, CommandFailed) as error:
        say(error)
        return 1


if __name__ == "__main__":
    exit_with(main)

"""`make verify` for the stack in containers: the gateway's own image asks, from the host's network.

So the record has the versions that run, and nothing needs to be installed. Standard library alone.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

from containers import CommandFailed, Container, compose, execute, list_containers, run
from environment import ROOT, BadSetting, Settings, read_settings
from telling import say

TRUSTED = "/trusted.pem"


def verify(settings: Settings, url: str, out: str | None) -> int:
    """The exit status of `gateway verify`. Raises CommandFailed."""
    containers = {container.service: container for container in list_containers() if container.running}
    if "gateway" not in containers:
        raise CommandFailed("no gateway runs in a container here: make up")
    gateway = containers["gateway"].name
    image = run("docker", "inspect", "--format", "{{.Image}}", gateway).strip()
    command = ["verify", "--url", url]
    mounts: list[str] = []
    if url.replace("localhost", "127.0.0.1").rstrip("/") == settings.url:
        for name, version in _programs(containers).items():
            command += ["--program", f"{name}={version}"]
        if settings.tls:
            mounts += ["--volume", f"{settings.certificate}:{TRUSTED}:ro"]
            command += ["--cacert", TRUSTED]
    if model := os.environ.get("MODEL"):
        command += ["--model", model]
    if out:
        file = Path(out).absolute()
        if not file.parent.is_dir():
            raise CommandFailed(f"there is no folder {file.parent}")
        mounts += ["--volume", f"{file.parent}:{file.parent}"]
        command += ["--out", str(file)]
    rights = [
        "--user",
        f"{os.getuid()}:{os.getgid()}",
        "--read-only",
        "--cap-drop",
        "ALL",
        "--env",
        "SLUICE_KEY",
    ]
    start = ["docker", "run", "--rm", "--network", "host", *rights, *mounts, image]
    environment = {**os.environ, "SLUICE_KEY": settings.api_key}
    return subprocess.run([*start, *command], cwd=ROOT, env=environment, check=False).returncode


def _programs(containers: dict[str, Container]) -> dict[str, str]:
    """Versions that cannot be learned through the published port."""
    nginx = execute("docker", "exec", containers["nginx"].name, "nginx", "-v").stderr
    return {
        "nginx": nginx.partition("nginx/")[2].strip(),
        "Docker Engine": run("docker", "version", "--format", "{{.Server.Version}}").strip(),
        "Compose": compose("version", "--short").strip(),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", help="where clients reach it (default: as BIND and PORT say)")
    parser.add_argument("--out", help="also write the record as JSON to this file")
    arguments = parser.parse_args()
    try:
        settings = read_settings()
        return verify(settings, arguments.url or settings.url, arguments.out)
    except (BadSetting, CommandFailed) as error:
        say(error)
        return 1


if __name__ == "__main__":
    sys.exit(main())

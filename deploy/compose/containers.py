"""The docker command: the one way in which these scripts talk to Docker."""

import json
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from environment import ROOT

# Compose leaves out the services of inactive profiles unless it is asked for all of them.
ALL_PROFILES = ("--profile", "*")
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class CommandFailed(Exception):
    """A program is missing, failed or did not answer; the message is its own last word."""


@dataclass(frozen=True)
class Container:
    """One container of this project, as `docker compose ps` tells."""

    name: str
    service: str
    state: str
    health: str
    exit_code: int
    ports: frozenset[int]

    @property
    def running(self) -> bool:
        return self.state == "running"


def run(*command: str, timeout: float = 30) -> str:
    """What the program wrote. Raises CommandFailed."""
    process = execute(*command, timeout=timeout)
    if process.returncode != 0:
        said = process.stderr.strip() or process.stdout.strip() or f"status {process.returncode}"
        raise CommandFailed(said.splitlines()[-1])
    return process.stdout


def execute(*command: str, timeout: float = 30) -> subprocess.CompletedProcess[str]:
    """Also returns a program that failed. Raises CommandFailed when there is none to run, or it hangs."""
    try:
        return subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, timeout=timeout, check=False, errors="replace"
        )
    except FileNotFoundError:
        raise CommandFailed(f"there is no {command[0]} on the PATH") from None
    except OSError as error:
        raise CommandFailed(f"{command[0]} cannot be started: {error.strerror}") from None
    except subprocess.TimeoutExpired:
        raise CommandFailed(f"{command[0]} has not answered for {timeout:.0f} s") from None


def compose(*arguments: str, timeout: float = 60) -> str:
    """Raises CommandFailed."""
    return run("docker", "compose", *arguments, timeout=timeout)


def list_containers() -> list[Container]:
    """This project's containers of every profile, stopped ones too. Raises CommandFailed."""
    lines = compose(*ALL_PROFILES, "ps", "--all", "--format", "json").splitlines()
    return [_container(json.loads(line)) for line in lines if line.startswith("{")]


def _container(told: Mapping[str, Any]) -> Container:
    return Container(
        name=told["Name"],
        service=told["Service"],
        state=told["State"],
        health=told.get("Health") or "",
        exit_code=told.get("ExitCode") or 0,
        ports=frozenset(published["PublishedPort"] for published in told.get("Publishers") or ()),
    )


def last_lines(service: str, count: int) -> list[str]:
    """The last lines that a service wrote; none if they can't be had."""
    try:
        # Both of the container's streams come out on the command's, so there is only one to read.
        output = compose(*ALL_PROFILES, "logs", "--no-color", "--no-log-prefix", f"--tail={count}", service)
    except CommandFailed:
        return []
    # Compose puts a "clear this line" in front of each, also where there is no terminal.
    return _CONTROL.sub("", output).splitlines()[-count:]

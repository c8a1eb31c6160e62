"""The docker command, through which everything here talks to Docker."""

import json
import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from deploy import ROOT

# Otherwise Compose ignores the services of inactive profiles.
ALL_PROFILES = ("--profile", "*")
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class CommandFailed(Exception):
    """A program is missing, failed or did not answer; the message is its last line."""


@dataclass(frozen=True)
class Container:
    """One container of this project, as `docker compose ps` lists it."""

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
    """Returns the program's output. Raises CommandFailed."""
    process = execute(*command, timeout=timeout)
    if process.returncode != 0:
        output = process.stderr.strip() or process.stdout.strip() or f"status {process.returncode}"
        raise CommandFailed(output.splitlines()[-1])
    return process.stdout


def execute(*command: str, timeout: float = 30) -> subprocess.CompletedProcess[str]:
    """Returns even if the program failed. Raises CommandFailed if it cannot be started, or hangs."""
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


def run_in_foreground(*command: str, environment: Mapping[str, str] = os.environ) -> int:
    """Runs the program on this terminal; returns its exit status. Raises CommandFailed, KeyboardInterrupt."""
    try:
        process = subprocess.Popen(command, cwd=ROOT, env=environment)
    except OSError as error:
        raise CommandFailed(f"{command[0]} cannot be started: {error.strerror}") from None
    with process:
        try:
            return process.wait()
        except KeyboardInterrupt:
            # Ctrl-C reached it too, and it must be let finish: killed, it would leave its work half done.
            process.wait()
            raise


def compose(*arguments: str, timeout: float = 60) -> str:
    """Raises CommandFailed."""
    return run("docker", "compose", *arguments, timeout=timeout)


def list_containers() -> list[Container]:
    """This project's containers, of every profile and stopped ones too. Raises CommandFailed."""
    lines = compose(*ALL_PROFILES, "ps", "--all", "--format", "json").splitlines()
    return [_container(json.loads(line)) for line in lines if line.startswith("{")]


def _container(listed: Mapping[str, Any]) -> Container:
    return Container(
        name=listed["Name"],
        service=listed["Service"],
        state=listed["State"],
        health=listed.get("Health") or "",
        exit_code=listed.get("ExitCode") or 0,
        ports=frozenset(published["PublishedPort"] for published in listed.get("Publishers") or ()),
    )


def last_lines(service: str, count: int) -> list[str]:
    """The last lines of a service's log; none if it cannot be read."""
    try:
        # Both streams of the container come out of the command's standard output.
        output = compose(*ALL_PROFILES, "logs", "--no-color", "--no-log-prefix", f"--tail={count}", service)
    except CommandFailed:
        return []
    # Compose starts each line with a control sequence, even without a terminal.
    return _CONTROL.sub("", output).splitlines()[-count:]

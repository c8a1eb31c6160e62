"""Waits until the containers can answer, or until it is clear that they will not."""

import time

from deploy.compose import pull_log
from deploy.compose.docker_cli import Container, last_lines, list_containers
from deploy.compose.settings import Settings
from deploy.compose.stack_client import NoAnswer, ask
from deploy.terminal.status_line import StatusLine

POLL_SECONDS = 1.0
STUCK_SECONDS = 600  # without a pull that makes progress
# These end when they are done.
ONE_SHOTS = (pull_log.SERVICE, "valkey-password")


class StartFailed(Exception):
    """The stack will not come up by itself; the message says why, and has the end of the log."""


def wait_until_ready(settings: Settings, poll_seconds: float = POLL_SECONDS) -> None:
    """Raises StartFailed, CommandFailed."""
    status = StatusLine()
    restarting: set[str] = set()
    deadline = time.monotonic() + STUCK_SECONDS
    while (missing := _missing(settings)) is not None:
        containers = list_containers()
        if failure := failed_container(containers, restarting):
            status.end()
            raise StartFailed(f"{failure}\n\nNot ready: {missing}. The containers are left as they are.")
        restarting |= {container.name for container in containers if container.state == "restarting"}
        pull = running_pull(containers)
        if pull and pull.advances:
            deadline = time.monotonic() + STUCK_SECONDS
        if time.monotonic() > deadline:
            status.end()
            raise StartFailed(
                f"Not ready: {missing}. There was no progress for {STUCK_SECONDS // 60} minutes: make logs"
            )
        status.show(pull.text if pull and pull.text else missing)
        time.sleep(poll_seconds)
    status.end()


def _missing(settings: Settings) -> str | None:
    """What the stack still needs before it can answer; None if nothing."""
    try:
        code, answer = ask(settings, "/readyz")
    except NoAnswer:
        return "nginx does not answer yet"
    if code == 200:
        return None
    return str(answer.get("missing") or f"the gateway does not answer yet (status {code})")


def running_pull(containers: list[Container]) -> pull_log.Line | None:
    """The last line of the container that pulls the models, while it runs."""
    if not any(container.service == pull_log.SERVICE and container.running for container in containers):
        return None
    lines = last_lines(pull_log.SERVICE, 1)
    return pull_log.read(lines[-1]) if lines else None


def failed_container(
    containers: list[Container], restarting: set[str] | frozenset[str] = frozenset()
) -> str | None:
    """The first container that will not come up by itself, with the end of its log.

    `restarting` has those that were restarting before: one restart is no failure.
    """
    for container in containers:
        if container.service in ONE_SHOTS:
            # It may restart as often as it likes.
            failure = "has stopped" if container.state == "exited" and container.exit_code else ""
        elif container.state in ("exited", "dead"):
            failure = f"has stopped with status {container.exit_code}"
        elif container.state == "restarting" and container.name in restarting:
            failure = f"keeps stopping and being restarted (status {container.exit_code})"
        else:
            failure = "is not healthy" if container.health == "unhealthy" else ""
        if failure:
            log = "\n".join(end_of_log(container.service))
            return f"{container.service} {failure}. The end of its log:\n\n{log}"
    return None


def end_of_log(service: str) -> list[str]:
    """Indented; never empty."""
    lines = last_lines(service, 15)
    if service == pull_log.SERVICE:
        lines = [pull_log.read(line).text for line in lines]
    return [f"  {line}" for line in lines] or ["  (it is empty)"]

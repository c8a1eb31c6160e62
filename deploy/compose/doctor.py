"""`make doctor`: reports what will go wrong before it does, and after the start where the model really runs.

Runs under the system's Python, before anything is installed, so it uses the standard library alone.
"""

import sys
from collections.abc import Iterator

from deploy.compose.checks.docker import check_docker
from deploy.compose.checks.gpu import check_gpu
from deploy.compose.checks.model import check_model
from deploy.compose.checks.monitoring import check_monitoring
from deploy.compose.checks.ports import check_ports
from deploy.compose.checks.resources import check_disk, check_memory
from deploy.compose.checks.result import Result, fail, report
from deploy.compose.checks.servers import check_servers
from deploy.compose.checks.sharing import check_sharing
from deploy.compose.checks.tls import check_tls
from deploy.compose.docker_cli import CommandFailed, Container, list_containers
from deploy.compose.docker_engine import Docker, probe
from deploy.compose.settings import Settings, read_settings
from deploy.settings.values import BadSetting
from deploy.terminal.command import exit_with
from deploy.terminal.messages import say


def before_start(settings: Settings) -> Iterator[Result]:
    """Everything that can be checked without a running stack, within a second or two."""
    docker = probe()
    yield from check_docker(docker)
    yield from check_gpu(settings, docker)
    containers: list[Container] = []
    if _compose_works(docker):
        try:
            containers = list_containers()
        except CommandFailed as failed:
            yield fail(f"Compose rejects compose.yaml with these settings: {failed}", "See .env.example")
    if docker is not None and docker.answers:
        yield from check_servers(settings, docker)
    yield from check_ports(settings, docker, containers)
    yield from check_tls(settings)
    yield from check_monitoring(settings)
    yield from check_memory(settings, docker, containers)
    yield from check_disk(settings, docker)


def after_start(settings: Settings) -> Iterator[Result]:
    """Nothing unless the stack runs. It may load a model, which takes time."""
    try:
        containers = list_containers()
        yield from check_model(settings, containers)
        yield from check_sharing(settings, containers)
    except CommandFailed:
        return  # before_start has reported it


def _compose_works(docker: Docker | None) -> bool:
    return docker is not None and docker.answers and "compose" in docker.plugins


def main() -> int:
    try:
        settings = read_settings()
    except BadSetting as error:
        say(fail(str(error), "See .env.example"), sys.stdout)
        return 1
    say(f"Profile {settings.profiles}, at {settings.url}", sys.stdout)
    good = report(before_start(settings), sys.stdout)
    good = report(after_start(settings), sys.stdout) and good
    return 0 if good else 1


if __name__ == "__main__":
    exit_with(main)

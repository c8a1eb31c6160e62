"""`make doctor`: says what will go wrong before it does, and after the start where the model really runs.

Runs under the system's Python, before anything is installed, so it uses the standard library alone.
"""

import sys
from collections.abc import Iterator

from checks.docker import check_docker
from checks.gpu import check_gpu
from checks.model import check_model
from checks.monitoring import check_monitoring
from checks.ports import check_ports
from checks.resources import check_disk, check_memory
from checks.tls import check_tls
from containers import CommandFailed, Container, list_containers
from docker_engine import Docker, probe
from environment import BadSetting, Settings, read_settings
from finding import Finding, fail, report
from telling import say


def before_start(settings: Settings) -> Iterator[Finding]:
    """All that can be said without a running stack, within a second or two."""
    docker = probe()
    yield from check_docker(docker)
    yield from check_gpu(settings, docker)
    containers: list[Container] = []
    if _compose_works(docker):
        try:
            containers = list_containers()
        except CommandFailed as failed:
            yield fail(f"Compose cannot use compose.yaml with these settings: {failed}", "See .env.example")
    yield from check_ports(settings, docker, containers)
    yield from check_tls(settings)
    yield from check_monitoring(settings)
    yield from check_memory(settings, docker, containers)
    yield from check_disk(settings, docker)


def after_start(settings: Settings) -> Iterator[Finding]:
    """Nothing unless the stack runs. It may load a model, which takes its time."""
    try:
        yield from check_model(settings, list_containers())
    except CommandFailed:
        return  # before_start has said why


def _compose_works(docker: Docker | None) -> bool:
    return docker is not None and docker.answers and "compose" in docker.plugins


def main() -> int:
    try:
        settings = read_settings()
    except BadSetting as error:
        say(fail(str(error), "See .env.example"), sys.stdout)
        return 1
    beside = " with monitoring" if settings.monitoring else ""
    say(f"profile {settings.profile}{beside}, to be reached at {settings.url}", sys.stdout)
    good = report(before_start(settings), sys.stdout)
    good = report(after_start(settings), sys.stdout) and good
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())

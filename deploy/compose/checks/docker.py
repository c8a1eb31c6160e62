"""Can the Docker on this machine run the stack?"""

import re
from collections.abc import Iterator

from deploy.compose.checks.result import Result, fail, ok
from deploy.compose.docker_engine import Docker

ENGINE_AT_LEAST = (25, 0)  # the first with start_interval in health checks
COMPOSE_AT_LEAST = (2, 24)  # the first that knows everything in compose.yaml

INSTALL = "Install it: curl -fsSL https://get.docker.com | sudo sh"
INSTALL_PLUGIN = "Install it: sudo apt install {} (https://docs.docker.com/engine/install/)"


def check_docker(docker: Docker | None) -> Iterator[Result]:
    if docker is None:
        yield fail("there is no docker command", INSTALL)
        return
    yield _engine(docker)
    yield _plugin(
        docker, "compose", COMPOSE_AT_LEAST, "docker-compose-plugin, or on Ubuntu docker-compose-v2"
    )
    yield _plugin(docker, "buildx", (0,), "docker-buildx-plugin, or on Debian and Ubuntu docker-buildx")


def _engine(docker: Docker) -> Result:
    if "permission denied" in docker.error:
        return fail(
            "this user has no access to Docker",
            'Join its group: sudo usermod -aG docker "$USER", then log in again (or: newgrp docker)',
        )
    if docker.error:
        return fail(
            f"Docker does not answer: {_sentence(docker.error)}", "Start it: sudo systemctl start docker"
        )
    if _version(docker.version) < ENGINE_AT_LEAST:
        return fail(
            f"Docker Engine {docker.version} is too old, {_dotted(ENGINE_AT_LEAST)} is needed", INSTALL
        )
    return ok(f"Docker Engine {docker.version}")


def _plugin(docker: Docker, name: str, at_least: tuple[int, ...], packages: str) -> Result:
    fix = INSTALL_PLUGIN.format(packages)
    version = docker.plugins.get(name)
    if version is None:
        return fail(f"the docker command has no {name} plugin", fix)
    if _version(version) < at_least:
        return fail(f"docker {name} {version} is too old, {_dotted(at_least)} is needed", fix)
    return ok(f"docker {name} {version.removeprefix('v')}")


def _version(text: str) -> tuple[int, ...]:
    """A version without numbers, such as a developer's build, counts as new."""
    match = re.match(r"v?(\d+(?:\.\d+)*)", text)
    return tuple(int(number) for number in match[1].split(".")) if match else (10**6,)


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(str(number) for number in version)


def _sentence(text: str) -> str:
    return text.splitlines()[-1].removesuffix(". Is the docker daemon running?").rstrip(".")

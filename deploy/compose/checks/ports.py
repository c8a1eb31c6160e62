"""Are the ports free on which nginx, and with monitoring Grafana and Prometheus, are to be published?"""

import errno
import re
import socket
from collections.abc import Iterator

from deploy.compose.checks.result import Result, fail, ok, warn
from deploy.compose.docker_cli import CommandFailed, Container, run
from deploy.compose.docker_engine import Docker
from deploy.compose.settings import Settings

PUBLISHED = ("nginx", "grafana", "prometheus")


def check_ports(settings: Settings, docker: Docker | None, containers: list[Container]) -> Iterator[Result]:
    if docker and not docker.is_here and "Docker Desktop" not in docker.system:
        yield warn(f"Docker runs elsewhere ({docker.system}), so its ports cannot be checked from here")
        return
    ours = {port for one in containers if one.service in PUBLISHED and one.running for port in one.ports}
    for variable, (address, port) in settings.published_ports.items():
        if port in ours:
            yield ok(f"port {port} is in use by this stack")
        else:
            yield _check_port(address, port, variable, docker)


def _check_port(address: str, port: int, variable: str, docker: Docker | None) -> Result:
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as listener:
        # Connections of an earlier listener that are not quite over do no harm.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((address, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return fail(
                    f"port {port} on {address} is in use by {_owner(port)}",
                    f"Stop it, or choose another port with {variable}= in .env",
                )
            if error.errno == errno.EADDRNOTAVAIL:
                return fail(f"{address} is not an address of this machine", "Put BIND=127.0.0.1 into .env")
            if error.errno != errno.EACCES:
                return fail(
                    f"port {port} on {address} cannot be used: {error.strerror}",
                    "Choose another with BIND= in .env",
                )
            if docker and docker.rootless:
                return fail(
                    f"rootless Docker may not listen on port {port}",
                    f"Allow it: sudo sysctl net.ipv4.ip_unprivileged_port_start={port}",
                )
            # This user may not listen there, but Docker's daemon, which is root, may.
    return ok(f"port {port} on {address} is free")


def _owner(port: int) -> str:
    """In words, as far as this user can see."""
    try:
        container = run("docker", "ps", "--filter", f"publish={port}", "--format", "{{.Names}}").split()
        if container:
            return f"the container {container[0]}"
    except CommandFailed:
        pass
    try:
        programs = re.findall(r'\("([^"]+)",pid=(\d+)', run("ss", "-Hltnp", f"sport = :{port}"))
        if programs:
            return "{} (pid {})".format(*programs[0])
    except CommandFailed:
        pass
    return f"another program (to see which: sudo ss -ltnp 'sport = :{port}')"

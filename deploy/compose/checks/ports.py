"""Can nginx, and with monitoring Grafana and Prometheus, be published where the settings say?"""

import errno
import re
import socket
from collections.abc import Iterator

from containers import CommandFailed, Container, run
from docker_engine import Docker
from environment import Settings
from finding import Finding, fail, ok, warn

PUBLISHED = ("nginx", "grafana", "prometheus")


def check_ports(settings: Settings, docker: Docker | None, containers: list[Container]) -> Iterator[Finding]:
    if docker and not docker.is_here and "Docker Desktop" not in docker.system:
        yield warn(f"Docker runs elsewhere ({docker.system}), so its ports cannot be looked at from here")
        return
    ours = {port for one in containers if one.service in PUBLISHED and one.running for port in one.ports}
    for variable, (address, port) in settings.published_ports.items():
        if port in ours:
            yield ok(f"port {port} is this stack's own")
        else:
            yield _check_port(address, port, variable, docker)


def _check_port(address: str, port: int, variable: str, docker: Docker | None) -> Finding:
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as listener:
        # What still lingers of an earlier listener is in nobody's way.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((address, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return fail(
                    f"port {port} on {address} is taken by {_owner(port)}",
                    f"Stop it, or put {variable}= into .env",
                )
            if error.errno == errno.EADDRNOTAVAIL:
                return fail(f"{address} is no address of this machine", "Put BIND=127.0.0.1 into .env")
            if error.errno != errno.EACCES:
                return fail(
                    f"port {port} on {address} cannot be used: {error.strerror}", "Put BIND= into .env"
                )
            if docker and docker.rootless:
                return fail(
                    f"rootless Docker may not listen on port {port}",
                    f"Allow it: sudo sysctl net.ipv4.ip_unprivileged_port_start={port}",
                )
            # Only this user may not; Docker's daemon, which is root, will.
    return ok(f"port {port} on {address} is free")


def _owner(port: int) -> str:
    """In words, as far as this user may know."""
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
    return f"another program (sudo ss -ltnp 'sport = :{port}' names it)"

"""The stack in containers, as a separate Compose project next to others on this machine."""

import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from tests.processes import ROOT, free_port, wait_until

PROJECT = "sluice-test"
MODEL = "smollm2:135m"
GATEWAY_IMAGE = "sluice-gateway:0.1.0"


def docker(*arguments: str) -> str:
    """The output of a docker command; fails with its error messages."""
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"docker {' '.join(arguments)}:\n{done.stdout}{done.stderr}"
    return done.stdout.strip()


def inspect(container: str) -> dict[str, Any]:
    found: list[dict[str, Any]] = json.loads(docker("inspect", container))
    return found[0]


def reaches(url: str, *where: str) -> bool:
    """Whether a container run with the options `where` gets an answer from `url`."""
    code = f"import urllib.request as r; print('reached', r.urlopen('{url}', timeout=3).status)"
    probe = f"try:\n {code}\nexcept OSError as error:\n print(error)"
    return "reached" in docker("run", "--rm", *where, "--entrypoint", "python", GATEWAY_IMAGE, "-c", probe)


@dataclass(frozen=True)
class Containers:
    """A running stack; `url` is nginx's published address."""

    url: str
    environment: dict[str, str]

    def compose(self, *arguments: str) -> str:
        done = subprocess.run(
            self.command(*arguments),
            cwd=ROOT,
            env={**os.environ, **self.environment},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"docker compose {' '.join(arguments)}:\n{done.stdout}{done.stderr}"
        return done.stdout.strip()

    def command(self, *arguments: str) -> list[str]:
        # Ignores the developer's .env.
        return ["docker", "compose", "--env-file", "/dev/null", *arguments]

    def verify(self, *options: str) -> str:
        """The output of `make verify`; fails if one of its checks does."""
        return self._make("verify", *options)

    def make_key(self, name: str) -> str:
        return self._make("key", f"NAME={name}").strip()

    def make_limited_key(self, name: str, *limits: str) -> str:
        """`limits` as the command line takes them, such as `--requests`, `60/m`."""
        return self.compose("run", "--rm", "--quiet-pull", "keys", "create", name, *limits)

    def _make(self, *arguments: str) -> str:
        done = subprocess.run(
            ["make", "--no-print-directory", *arguments],
            cwd=ROOT,
            env={**os.environ, **self.environment},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def containers(self, service: str) -> list[str]:
        return self.compose("ps", "--quiet", service).split()

    def network(self, name: str) -> str:
        """The network's name in Docker."""
        return f"{self.environment['COMPOSE_PROJECT_NAME']}_{name}"

    def address(self, container: str, network: str) -> str:
        return str(inspect(container)["NetworkSettings"]["Networks"][self.network(network)]["IPAddress"])

    def python(self, container: str, code: str) -> str:
        """The output of `code`, run inside `container`."""
        return docker("exec", container, "python", "-c", code)

    def metric(self, container: str, port: int, name: str) -> float:
        """The sum of one metric's samples, read inside `container`, because its port is not published."""
        text = self.python(
            container,
            f"import urllib.request as r; print(r.urlopen('http://127.0.0.1:{port}/metrics').read().decode())",
        )
        samples = [line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#")]
        return sum(float(value) for sample, value in samples if sample.partition("{")[0] == name)

    def busy_slots(self) -> float:
        return self.metric(self.containers("engine")[0], 11434, "engine_slots_busy")

    def answers(self, gateway: str) -> float:
        """The number of answers that this gateway has begun."""
        return self.metric(gateway, 8001, "gen_ai_client_operation_time_to_first_chunk_seconds_count")

    def wait_ready(self, seconds: float = 60) -> None:
        wait_until(self.is_ready, seconds, f"{self.url}/readyz answers 200\n{self.compose('ps', '--all')}")

    def is_ready(self) -> bool:
        try:
            # The certificate is tested elsewhere.
            return (
                httpx.get(f"{self.url}/readyz", timeout=5, trust_env=False, verify=False).status_code == 200
            )
        except httpx.TransportError:
            return False

    def logs(self, service: str) -> list[dict[str, Any]]:
        lines = self.compose("logs", "--no-log-prefix", "--no-color", service).splitlines()
        return [json.loads(line[line.index("{") :]) for line in lines if "{" in line]


@contextmanager
def running(**environment: str) -> Iterator[tuple[Containers, float]]:
    """Builds, starts and removes the stack. Yields it with the seconds from `up` until ready."""
    port = free_port()
    settings = {
        "COMPOSE_PROJECT_NAME": PROJECT,
        "COMPOSE_PROFILES": "embedded",
        "PORT": str(port),
        **environment,
    }
    stack = Containers(f"{'https' if settings.get('TLS') == 'on' else 'http'}://127.0.0.1:{port}", settings)
    stack.compose("build", "--quiet")
    try:
        started = time.monotonic()
        stack.compose("up", "--detach")
        stack.wait_ready()
        yield stack, time.monotonic() - started
    finally:
        stack.compose("--profile", "*", "down", "--volumes", "--timeout", "1")

"""The stack in a Kubernetes cluster: the one that KUBECONFIG names, in a namespace of its own."""

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.processes import BIN, ROOT, wait_until

NAMESPACE = "sluice-test"
OVERLAY = Path(__file__).with_name("overlay")
KUBECTL = str(BIN / "kubectl")
ASKING = Path(__file__).with_name("asking.py").read_text()
EDGE, GATEWAY = "http://edge", "http://127.0.0.1:8001"

Object = dict[str, Any]


def kubectl(*arguments: str, given: str | None = None) -> str:
    """The output of a kubectl command in the stack's namespace; fails with its error messages."""
    done = run(*arguments, given=given)
    assert done.returncode == 0, f"kubectl {' '.join(arguments)}:\n{done.stdout}{done.stderr}"
    return done.stdout.strip()


def run(*arguments: str, given: str | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [KUBECTL, "--namespace", NAMESPACE, *arguments],
        cwd=ROOT,
        input=given,
        capture_output=True,
        text=True,
        check=False,
    )


def objects(kind: str, name: str = "") -> list[Object]:
    """Those with the label `app.kubernetes.io/name`, if one is given."""
    selected = ["--selector", f"app.kubernetes.io/name={name}"] if name else []
    found: list[Object] = json.loads(kubectl("get", kind, *selected, "--output", "json"))["items"]
    return found


def is_ready(pod: Object) -> bool:
    conditions = pod["status"].get("conditions", [])
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def is_ending(pod: Object) -> bool:
    return "deletionTimestamp" in pod["metadata"]


def pods(name: str) -> dict[str, Object]:
    """Its pods that are ready and stay, by name."""
    return {
        pod["metadata"]["name"]: pod for pod in objects("pods", name) if is_ready(pod) and not is_ending(pod)
    }


def state() -> str:
    """For a failure's message."""
    return kubectl("get", "pods", "--output", "wide") + "\n" + kubectl("get", "events")


def wait_pods(name: str, count: int, seconds: float = 180) -> dict[str, Object]:
    """Waits until exactly so many are there and ready, and none is on its way."""

    def settled() -> bool:
        found = objects("pods", name)
        return len([pod for pod in found if not is_ending(pod)]) == count == len(pods(name))

    wait_until(settled, seconds, f"{count} pods of {name} are ready\n{state()}")
    return pods(name)


def python(pod: str, code: str, *arguments: str) -> str:
    return kubectl("exec", pod, "--", "python", "-c", code, *arguments)


def metric(pod: str, port: int, name: str) -> float:
    """The sum of one metric's samples, read inside the pod."""
    code = f"import urllib.request as r; print(r.urlopen('http://127.0.0.1:{port}/metrics').read().decode())"
    samples = [line.rsplit(" ", 1) for line in python(pod, code).splitlines() if not line.startswith("#")]
    return sum(float(value) for sample, value in samples if sample.partition("{")[0] == name)


class Keys:
    """A key file, and the Secret that is made of it."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "keys"

    def create(self, name: str, *options: str) -> str:
        done = subprocess.run(
            [BIN / "gateway", "keys", "create", name, *options],
            env={**os.environ, "GATEWAY_KEYS_FILE": str(self._path)},
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.strip()

    def publish(self) -> None:
        made = ("create", "secret", "generic", "keys", f"--from-file={self._path}")
        secret = kubectl(*made, "--dry-run=client", "--output=yaml")
        kubectl("apply", "--server-side", "--filename", "-", given=secret)


class Client:
    """asking.py at work in a pod."""

    def __init__(self, pod: str, *arguments: str) -> None:
        command = [KUBECTL, "--namespace", NAMESPACE, "exec", "--stdin", pod, "--"]
        self._popen = subprocess.Popen(
            [*command, "python", "-c", ASKING, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    @property
    def has_ended(self) -> bool:
        return self._popen.poll() is not None

    def next(self) -> dict[str, Any]:
        assert self._popen.stdout
        line = self._popen.stdout.readline()
        assert line, "the client has ended"
        found: dict[str, Any] = json.loads(line)
        return found

    def answers(self) -> list[dict[str, Any]]:
        """Those that are left, once the client has ended. It is told to."""
        rest, _ = self._popen.communicate()
        return [json.loads(line) for line in rest.splitlines()]

    def stop(self) -> None:
        self._popen.kill()
        self._popen.communicate()


@contextmanager
def client(key: str, *arguments: str) -> Iterator[Client]:
    """Asks through the Service `edge`."""
    with _working(Client("client", EDGE, key, *arguments)) as working:
        yield working


@contextmanager
def client_of(gateway: str, key: str, *arguments: str) -> Iterator[Client]:
    """Asks this gateway, within its pod, because nobody else but the edge may reach it."""
    with _working(Client(gateway, GATEWAY, key, *arguments)) as working:
        yield working


@contextmanager
def _working(client: Client) -> Iterator[Client]:
    try:
        yield client
    finally:
        client.stop()


def failed(answers: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those that did not end as they should."""
    return [answer for answer in answers if '"done":true' not in answer["end"]]

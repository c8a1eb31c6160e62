"""overlays/try as its README has it, in the namespace `sluice`."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from tests.k8s.cluster import KUBECTL
from tests.processes import ROOT, free_port, listens, wait_until

README = (ROOT / "deploy/kubernetes/README.md").read_text()
APPLY = "kubectl apply -k deploy/kubernetes/overlays/try"
WAIT = "kubectl -n sluice wait --for=condition=Available deployment --all --timeout=3m"
FORWARD = "kubectl -n sluice port-forward service/edge 8000:80"
DELETE = "kubectl delete -k deploy/kubernetes/overlays/try"


def typed(command: str) -> subprocess.CompletedProcess[str]:
    """What becomes of a command of the README."""
    assert command in README
    words = [KUBECTL, *command.split()[1:]]
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)


@contextmanager
def forwarded() -> Iterator[str]:
    port = free_port()
    assert FORWARD in README
    words = [KUBECTL, *FORWARD.replace("8000:", f"{port}:").split()[1:]]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL) as forwarding:
        try:
            wait_until(lambda: listens(port), 30, "the port is forwarded")
            yield f"http://127.0.0.1:{port}"
        finally:
            forwarding.terminate()


@pytest.fixture
def _nothing_there() -> Iterator[None]:
    found = subprocess.run(
        [KUBECTL, "get", "namespace", "sluice"], capture_output=True, text=True, check=False
    )
    assert "NotFound" in found.stderr, f"the namespace sluice is there already, or: {found.stderr}"
    yield
    typed(DELETE)


@pytest.mark.usefixtures("_nothing_there")
def test_the_commands_of_the_readme_work() -> None:
    for command in (APPLY, WAIT):
        done = typed(command)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "Warning" not in done.stderr
    question = {"model": "smollm2:135m", "messages": [{"role": "user", "content": "Why is the sky blue?"}]}
    with forwarded() as url:
        wait_until(lambda: httpx.get(f"{url}/readyz").status_code == 200, 60, "the stack is ready")
        answer = httpx.post(f"{url}/chat", json={**question, "options": {"num_predict": 5}}, timeout=120)
        page = httpx.get(url, headers={"Accept": "text/html"})
    assert answer.text.count("data: ") == 6
    assert '"done":true' in answer.text
    assert page.text.startswith("<!doctype html>")
    done = typed(DELETE)
    assert done.returncode == 0, done.stderr

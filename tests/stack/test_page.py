"""The page comes out of the container as it is in the repository."""

import httpx

from tests.processes import ROOT
from tests.stack.containers import Containers, docker

PAGE = ROOT / "services/page"


def test_browsers_get_the_page_and_other_clients_that_ollama_is_running(stack: Containers) -> None:
    with httpx.Client(base_url=stack.url, timeout=30, trust_env=False) as client:
        answer = client.get("/", headers={"Accept": "text/html"})
        assert answer.content == (PAGE / "index.html").read_bytes()
        assert answer.headers["content-security-policy"].startswith("default-src 'self';")
        assert client.get("/page/app.js").content == (PAGE / "app.js").read_bytes()
        assert client.get("/page/README.md").status_code == 404
        assert client.get("/").text == "Ollama is running"


def test_nginx_cannot_change_the_page(stack: Containers) -> None:
    mounts = docker("exec", stack.containers("nginx")[0], "cat", "/proc/1/mounts").splitlines()
    [options] = [mount.split()[3] for mount in mounts if mount.split()[1] == "/tmp/html/page"]
    assert "ro" in options.split(",")

"""One gateway behind one nginx, started once a session, because a start takes seconds."""

from collections.abc import Iterator

import pytest

from tests.fakes.ollama import DONE, FakeOllama, line
from tests.integration.programs import gateway, nginx
from tests.integration.raw_requests.edges import ORIGIN, Edges

SECONDS = 1


@pytest.fixture(scope="session")
def edges(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edges]:
    folder = tmp_path_factory.mktemp("edges")
    settings = {
        "GATEWAY_ADMIN_API": "on",
        "GATEWAY_AUDIT_FILE": str(folder / "audit"),
        "GATEWAY_CORS_ORIGINS": f"{ORIGIN}, https://other.example",
        "GATEWAY_REQUEST_TIMEOUT": str(SECONDS),
    }
    short = (("_timeout 25s;", f"_timeout {SECONDS}s;"),)
    with FakeOllama().running() as fake:
        fake.answer("good", line(), DONE)
        with gateway(fake.url, folder, **settings) as (inside, url):
            inside.wait_ready(f"{url}/readyz")
            with nginx(int(url.rpartition(":")[2]), *short, file="conf.d/gateway.conf") as (edge, outside):
                yield Edges(fake, inside, edge, {"gateway": url, "nginx": outside}, folder / "audit")

"""Several gateways that share their state, and an edge that sends whoever comes back to another one."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from deploy.native.nginx import find_nginx
from tests.integration.programs import gateway
from tests.integration.scrapes import value
from tests.processes import Process, free_port, listens, wait_until

# All answers are made at the first gateway, and read at the second one.
EDGE = """\
daemon off;
pid {folder}/edge.pid;
error_log stderr;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    map "$request_method $uri" $there {{
        default {second};
        "POST /chat" {first};
        "POST /v1/responses" {first};
    }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://$there;
            proxy_http_version 1.1;
            proxy_buffering off;
            proxy_pass_header X-Accel-Buffering;
            proxy_set_header Host localhost;
        }}
    }}
}}
"""


class Gateway(NamedTuple):
    process: Process
    url: str


@contextmanager
def gateways(
    number: int, upstream: str, shared_url: str, folder: Path, **environment: str
) -> Iterator[list[Gateway]]:
    """Yields them once they know each other."""
    settings = {"GATEWAY_SHARED_URL": shared_url, "GATEWAY_OPEN_METRICS": "on", **environment}
    with ExitStack() as stack:
        running = [
            Gateway(*stack.enter_context(gateway(upstream, folder, **settings))) for _ in range(number)
        ]
        wait_until_met(running)
        yield running


def wait_until_met(running: list[Gateway]) -> None:
    """Until each of them knows all."""
    name = "gateway_shared_gateways"
    wait_until(lambda: {value(each.url, name) for each in running} == {len(running)}, 30, "they have met")


@contextmanager
def edge(first: str, second: str, folder: Path) -> Iterator[str]:
    port = free_port()
    places = (urlsplit(url).netloc for url in (first, second))
    file = folder / "edge.conf"
    file.write_text(
        EDGE.format(folder=folder, port=port, **dict(zip(("first", "second"), places, strict=True)))
    )
    program, _ = find_nginx()
    process = Process([program, "-c", str(file), "-p", str(folder)], {}, folder / "edge.log")
    try:
        wait_until(lambda: listens(port), 10, f"the edge listens:\n{process.output}")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.stop()

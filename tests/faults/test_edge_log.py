"""nginx's access log when it cannot be written: lines are lost, requests are not."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from deploy.native.nginx import configure_nginx, find_nginx, nginx_command
from deploy.native.stack import Stack
from tests.fakes.ollama import FakeOllama
from tests.processes import free_port, listens, wait_until

# Several times as many as fit into a pipe.
REQUESTS = 1000


@contextmanager
def full_disk() -> Iterator[int]:
    output = os.open("/dev/full", os.O_WRONLY)
    yield output
    os.close(output)


@contextmanager
def reader_gone() -> Iterator[int]:
    reads, writes = os.pipe()
    os.close(reads)
    yield writes
    os.close(writes)


@pytest.mark.parametrize("output", [full_disk, reader_gone])
def test_a_log_that_cannot_be_written_fails_no_request(output: object) -> None:
    assert callable(output)
    with FakeOllama().running() as fake, output() as written_to:
        edge = Stack("127.0.0.1", free_port(), int(fake.url.rpartition(":")[2]), 0, None)
        command = nginx_command(find_nginx()[0], configure_nginx(edge))
        with subprocess.Popen(command, stdout=written_to, stderr=written_to) as process:
            try:
                wait_until(lambda: listens(edge.port), 10, "nginx listens")
                with httpx.Client(base_url=edge.url, timeout=30, trust_env=False) as client:
                    statuses = {client.get("/healthz").status_code for _ in range(REQUESTS)}
            finally:
                process.terminate()
        assert (statuses, process.wait(10)) == ({200}, 0)

"""The embedded engine with faulty outputs and few file descriptors."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.integration.engines import MODEL, ask, metric
from tests.processes import BIN, Process, free_port, wait_until

# A pipe holds 64 KiB, about 150 lines.
REQUESTS = 400


@contextmanager
def engine_writing_to(output: int) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    process = subprocess.Popen(
        [BIN / "engine", "serve"],
        env={**os.environ, "ENGINE_PORT": str(port), "ENGINE_LOG_LEVEL": "debug"},
        stdout=output,
        stderr=output,
        start_new_session=True,
    )
    try:
        wait_until(lambda: answers(url), 30, "the engine answers")
        yield process, url
    finally:
        os.killpg(process.pid, signal.SIGKILL) if process.poll() is None else None
        process.wait()


def answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/api/version", timeout=5).status_code == 200
    except httpx.TransportError:
        return False


def serves(url: str) -> None:
    """Sends requests that fill the log, and checks that all are answered."""
    with httpx.Client(timeout=30) as client:
        for _ in range(REQUESTS):
            assert client.get(f"{url}/api/ps", headers={"X-Request-Id": "x" * 128}).status_code == 200
    assert ask(url, stream=False, options={"num_predict": 2}).json()["done"]


def ends(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0


def test_blocked_output_delays_neither_requests_nor_shutdown() -> None:
    reader, writer = os.pipe()
    with engine_writing_to(writer) as (process, url):
        serves(url)
        ends(process)
    os.close(reader)
    os.close(writer)


def test_a_reader_that_resumes_gets_the_rest_and_the_number_of_dropped_lines() -> None:
    reader, writer = os.pipe()
    with engine_writing_to(writer) as (process, url):
        # More lines than fit into the engine's buffer and the pipe.
        with httpx.Client(timeout=30) as client:
            while not metric(url, "engine_log_lines_dropped_total"):
                for _ in range(500):
                    client.get(f"{url}/api/status")
        os.close(writer)
        os.set_blocking(reader, False)
        received = b""

        def listen() -> bool:
            nonlocal received
            try:
                received += os.read(reader, 2**20)
            except BlockingIOError:
                httpx.get(f"{url}/api/status")
            return b'"log_lines_dropped"' in received

        wait_until(listen, 30, "the dropped lines are reported")
        ends(process)
    os.close(reader)


@pytest.mark.parametrize("broken", ["a reader that is gone", "a full disk"])
def test_lines_that_cannot_be_written_are_counted_and_fail_no_request(broken: str) -> None:
    if broken == "a full disk":
        writer = os.open("/dev/full", os.O_WRONLY)
    else:
        reader, writer = os.pipe()
        os.close(reader)
    with engine_writing_to(writer) as (process, url):
        serves(url)
        assert metric(url, "engine_log_lines_dropped_total") > REQUESTS
        ends(process)
    os.close(writer)


def test_a_crash_of_llama_cpp_is_logged_with_its_last_output_even_if_the_log_is_not_read() -> None:
    reader, writer = os.pipe()
    with engine_writing_to(writer) as (process, url):
        httpx.post(f"{url}/api/generate", json={"model": MODEL}, timeout=30)
        (runner,) = subprocess.check_output(["pgrep", "-P", str(process.pid)]).split()
        os.kill(int(runner), signal.SIGABRT)
        wait_until(lambda: ask(url, options={"num_predict": 1}).status_code == 200, 30, "it is loaded again")
        ends(process)
    os.close(writer)
    with os.fdopen(reader, "rb") as output:
        (line,) = [entry for entry in output if b'"runner_died"' in entry]
    assert b'"last_output"' in line


@pytest.mark.parametrize(("limits", "warns"), [("-Sn 256", False), ("-n 256", True)])
def test_the_soft_descriptor_limit_is_raised_and_a_low_hard_limit_is_logged(
    tmp_path: Path, limits: str, warns: bool
) -> None:
    port = free_port()
    command = ["sh", "-c", f"ulimit {limits} && exec {BIN / 'engine'} serve"]
    process = Process(command, {"ENGINE_PORT": str(port)}, tmp_path / "log")
    try:
        process.wait_ready(f"http://127.0.0.1:{port}/api/version")
        (line,) = [
            line
            for line in Path(f"/proc/{process.popen.pid}/limits").read_text().splitlines()
            if "open files" in line
        ]
        soft, hard = line.split()[3:5]
        assert soft == hard
    finally:
        process.stop()
    assert ('"descriptor_limit_low"' in process.output) == warns

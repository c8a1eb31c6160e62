"""The embedded engine when its processes are killed or stopped, or cannot start."""

import json
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.integration.engines import (
    LONG_PROMPT,
    MODEL,
    Client,
    ask,
    body_for,
    busy,
    engine_with_odd_models,
    metric,
    runner,
    running_engine,
)
from tests.processes import BIN, Process, free_port, wait_until


@pytest.fixture(scope="module")
def own_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Process, str]]:
    """An engine whose processes the tests may kill."""
    with engine_with_odd_models(tmp_path_factory.mktemp("models")) as running:
        yield running


def test_a_crash_of_llama_cpp_is_the_last_line_and_the_next_request_works(
    own_engine: tuple[Process, str],
) -> None:
    process, url = own_engine
    failed = metric(url, "engine_requests_total", outcome="error")
    with Client(url, "/api/chat", body_for("/api/chat", "x", stream=True)) as client:
        client.wait_for(b'"done":false')
        os.kill(runner(process), signal.SIGKILL)
        end = client.wait_for(b"\r\n0\r\n\r\n")
        assert b'{"error":"model runner has unexpectedly stopped"}\n' in end
    wait_until(
        lambda: metric(url, "engine_requests_total", outcome="error") == failed + 1, 10, "it is counted"
    )
    assert ask(url, options={"num_predict": 1}).status_code == 200


def test_a_crash_before_the_first_byte_is_a_500(own_engine: tuple[Process, str]) -> None:
    process, url = own_engine
    with Client(url, "/api/chat", body_for("/api/chat", LONG_PROMPT, stream=True)) as client:
        wait_until(lambda: busy(url) == 1, 10, "the prompt is being evaluated")
        os.kill(runner(process), signal.SIGKILL)
        answer = client.wait_for(b"stopped")
    assert answer.startswith(b"HTTP/1.1 500 ")


def test_a_request_is_one_log_line_without_its_text(own_engine: tuple[Process, str]) -> None:
    process, url = own_engine
    body = {
        "model": MODEL,
        "messages": [{"role": "user", "content": "a secret"}],
        "options": {"num_predict": 3},
    }
    httpx.post(url + "/api/chat", json=body, headers={"X-Request-Id": "abc-1"}, timeout=30)

    def logged() -> list[dict[str, Any]]:
        entries = [json.loads(line) for line in process.output.splitlines()]
        return [e for e in entries if e["event"] == "request" and e["request_id"] == "abc-1"]

    wait_until(logged, 5, "the request is logged")
    (entry,) = logged()
    assert (entry["route"], entry["model"], entry["outcome"]) == ("/api/chat", MODEL, "ok")
    assert (entry["status"], entry["output_tokens"]) == (200, 3)
    assert "secret" not in process.output


def test_a_stopped_engine_lets_answers_finish_and_ends_the_rest_with_an_error(tmp_path: Path) -> None:
    with running_engine({}, tmp_path / "engine.log") as (process, url):
        endless = body_for("/api/chat", "x", stream=True)
        short = endless | {"options": {"num_predict": 40}}
        with Client(url, "/api/chat", short) as first, Client(url, "/api/chat", endless) as second:
            first.wait_for(b'"done":false')
            second.wait_for(b'"done":false')
            child = Path(f"/proc/{runner(process)}")
            process.popen.send_signal(signal.SIGTERM)
            first.wait_for(b'"done":true')
            second.wait_for(b'{"error":"the engine is being stopped"}\n')
        assert process.popen.wait(20) == 0
        assert not child.exists()


def test_a_killed_engine_leaves_no_runner(tmp_path: Path) -> None:
    with running_engine({}, tmp_path / "engine.log") as (process, url):
        ask(url, "/api/generate")
        child = Path(f"/proc/{runner(process)}/stat")
        process.popen.kill()
        process.popen.wait()
        wait_until(lambda: not child.exists() or " Z " in child.read_text(), 5, "the runner has ended")


def test_a_bad_setting_stops_the_start_with_one_line() -> None:
    result = subprocess.run(
        [BIN / "engine", "serve"],
        env={**os.environ, "ENGINE_SLOTS": "many"},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert result.returncode != 0
    assert result.stderr.count("\n") == 1
    assert result.stderr.startswith("engine: ENGINE_SLOTS=many: ")


def test_a_port_in_use_is_named() -> None:
    port = free_port()
    with socket.create_server(("127.0.0.1", port)):
        result = subprocess.run(
            [BIN / "engine", "serve"],
            env={**os.environ, "ENGINE_PORT": str(port)},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    assert result.returncode != 0
    address = f"ENGINE_HOST=127.0.0.1 ENGINE_PORT={port}"
    assert result.stderr == f"engine: {address}: can't listen there: Address already in use\n"

"""Model servers that fail or misbehave while their answer is kept."""

import json
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path

import httpx
import pytest

from tests.fakes.ollama import DONE, Do, FakeOllama, Step, line
from tests.integration.chat.question import question
from tests.integration.programs import gateway
from tests.integration.resume.events import events, numbered
from tests.integration.servers.fleet import fleet
from tests.processes import wait_until

RESUME = {"Prefer": "resume=60"}
HUGE = line("\u2028é\\" * 90_000)  # more than a megabyte

# Each with its error's code.
FAULTS: dict[str, tuple[str, tuple[Step, ...]]] = {
    "error": ("upstream_error", (b'{"error":"out of memory"}\n',)),
    "truncated": ("upstream_truncated", ()),
    "half": ("upstream_truncated", (DONE[:20],)),
    "dropped": ("upstream_truncated", (DONE[:20], Do.DROP)),
    "nonsense": ("upstream_error", (b"<html>\n",)),
    "silent": ("upstream_timeout", (Do.HANG,)),
}
GOOD: dict[str, Sequence[Step]] = {
    "huge": (line("a"), HUGE, HUGE, DONE),
    "huge in pieces": [*(HUGE[at : at + 70_000] for at in range(0, len(HUGE), 70_000)), DONE],
    "in single bytes": [bytes([byte]) for byte in line("a") + line("b") + DONE],
    "in one write": (line("a") * 100 + DONE,),
    "crlf": (line("a").replace(b"\n", b"\r\n"), line("b").replace(b"\n", b"\r\n"), DONE),
    "only an end": (DONE,),
}


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    settings = {"GATEWAY_IDLE_TIMEOUT": "1", "GATEWAY_HEARTBEAT": "0.3", "GATEWAY_EARLY_COMMIT": "0.3"}
    with FakeOllama().running() as fake:
        for name, (_, steps) in FAULTS.items():
            fake.answer(name, line("a"), line("b"), *steps)
        for name, good in GOOD.items():
            fake.answer(name, *good)
        with gateway(fake.url, tmp_path_factory.mktemp("faults"), **settings) as (process, address):
            process.wait_ready(f"{address}/readyz")
            yield address


@pytest.mark.parametrize("name", FAULTS)
def test_an_answer_that_fails_is_read_on_from_each_event(url: str, name: str) -> None:
    whole = httpx.post(f"{url}/chat", json=question(name), headers=RESUME, timeout=30)
    *parts, error = numbered(whole.content)
    assert [event.id for event in (*parts, error)] == ["1", "2", "3"]
    assert error.name == "error"
    assert json.loads(error.data)["error"]["code"] == FAULTS[name][0]
    for seen in range(3):
        rest = httpx.get(url + whole.headers["location"], params={"after": seen})
        assert numbered(rest.content) == numbered(whole.content)[seen:]
    assert httpx.get(url + whole.headers["location"], params={"after": 3}).status_code == 204


@pytest.mark.parametrize("name", GOOD)
def test_an_answer_of_any_shape_is_read_on_from_each_event(url: str, name: str) -> None:
    plain = httpx.post(f"{url}/chat", json=question(name), timeout=30)
    kept = httpx.post(f"{url}/chat", json=question(name), headers=RESUME, timeout=30)
    all_of_it = numbered(plain.content)
    assert numbered(kept.content) == all_of_it
    for seen in range(0, len(all_of_it), 1 + len(all_of_it) // 10):
        rest = httpx.get(url + kept.headers["location"], headers={"Last-Event-ID": str(seen)}, timeout=30)
        assert numbered(rest.content) == all_of_it[seen:]


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_old_clients_read_on_too(url: str, version: str) -> None:
    kept = httpx.post(f"{url}/chat", json=question("in one write"), headers=RESUME, timeout=30)
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        head = (
            f"GET {kept.headers['location']}?after=98 HTTP/{version}\r\nHost: x\r\nConnection: close\r\n\r\n"
        )
        connection.sendall(head.encode())
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    head_, _, body = answer.partition(b"\r\n\r\n")
    assert (b"chunked" in head_.lower()) == (version == "1.1")
    if version == "1.0":
        assert [event.id for event in numbered(body)] == ["99", "100", "101"]
    assert body.count(b"id: ") == 3


def test_another_server_answers_in_place_of_one_that_fails(tmp_path: Path) -> None:
    with fleet(tmp_path, ["gpu1", "gpu2"]) as servers:
        servers.wait_ready()
        for server in servers.servers:
            server.answer("shared", Do.WAIT, line("a"), DONE)
        wait_until(lambda: both_have(servers.client), 20, "both are known to have it")
        with servers.client.stream("POST", "/chat", json=question("shared"), headers=RESUME) as asked:
            location = asked.headers["location"]
            wait_until(lambda: any(server.answering for server in servers.servers), 10, "one is asked")
            failing, other = sorted(servers.servers, key=lambda server: -server.answering)
            failing.close()
            other.go_on()
            body = b"".join(asked.iter_raw())
        assert [event.id for event in numbered(body)] == ["1", "2"]
        told = [json.loads(event.data) for event in events(body) if event.name == "status"]
        assert told[-1]["state"] == "answering"
        assert numbered(servers.client.get(location).content) == numbered(body)


def both_have(client: httpx.Client) -> bool:
    models = {model["name"]: model["servers"] for model in client.get("/api/tags").json()["models"]}
    return len(models.get("shared", [])) == 2

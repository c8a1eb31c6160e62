"""The embedded engine as a process with its real model, and clients that can disconnect at any moment."""

import json
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
from prometheus_client.parser import text_string_to_metric_families

from engine.models.catalogue import built_in_file
from tests.processes import BIN, Process, free_port, wait_until

MODEL = "smollm2:135m"
STREAMS = [
    "/api/chat",
    "/api/generate",
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/responses",
    "/v1/messages",
]
# The grammar allows no end, so that an answer lasts until its client disconnects.
ENDLESS = {"type": "array", "items": {"type": "integer"}, "minItems": 1500}
# About five seconds of evaluation, within the context of a slot.
LONG_PROMPT = "word " * 2500


@contextmanager
def running_engine(environment: Mapping[str, str], log: Path) -> Iterator[tuple[Process, str]]:
    port = free_port()
    process = Process([str(BIN / "engine"), "serve"], {"ENGINE_PORT": str(port), **environment}, log)
    url = f"http://127.0.0.1:{port}"
    try:
        process.wait_ready(url)
        yield process, url
    finally:
        process.stop()


@contextmanager
def engine_with_odd_models(folder: Path) -> Iterator[tuple[Process, str]]:
    """An engine with one slot and a short queue. `folder` gets models that are good, broken and truncated."""
    model = built_in_file()
    assert model is not None
    (folder / "Foo-Bar.Q8_0.gguf").symlink_to(model)
    (folder / "broken.gguf").write_bytes(b"GGUF\x03\x00\x00\x00")
    with model.open("rb") as file:
        (folder / "half.gguf").write_bytes(file.read(40_000_000))
    environment = {"ENGINE_SLOTS": "1", "ENGINE_MAX_QUEUE": "4", "ENGINE_MODELS_DIR": str(folder)}
    with running_engine(environment, folder / "engine.log") as (process, url):
        yield process, url


def ask(url: str, path: str = "/api/chat", **fields: Any) -> httpx.Response:
    body: dict[str, Any] = {"model": MODEL}
    if path != "/api/generate":
        body["messages"] = [{"role": "user", "content": "Why is the sky blue?"}]
    return httpx.post(url + path, json=body | fields, timeout=60)


def lines(response: httpx.Response) -> list[dict[str, Any]]:
    return [json.loads(line) for line in response.text.split("\n")[:-1]]


def metric(url: str, name: str, **labels: str) -> float:
    families = text_string_to_metric_families(httpx.get(url + "/metrics", timeout=30).text)
    return sum(
        sample.value
        for family in families
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )


def busy(url: str) -> float:
    """The slots that llama.cpp is working on."""
    return metric(url, "engine_slots_busy")


def body_for(path: str, prompt: str, stream: bool) -> dict[str, Any]:
    """A request for an endless answer, in the API of the path."""
    # No cached prompt is a prefix of this one.
    prompt = f"{time.monotonic_ns()} {prompt}"
    body: dict[str, Any] = {"model": MODEL, "stream": stream, "max_tokens": 3000}
    if path.endswith(("generate", "/completions")) and "chat" not in path:
        body["prompt"] = prompt
    elif path == "/v1/responses":
        body |= {"input": prompt, "max_output_tokens": 3000}
    else:
        body["messages"] = [{"role": "user", "content": prompt}]
    if path.startswith("/api"):
        body |= {"format": ENDLESS, "options": {"num_predict": 3000}}
    elif path == "/v1/chat/completions":
        body["response_format"] = {"type": "json_schema", "json_schema": {"schema": ENDLESS}}
    return body


class Client:
    """A connection that can be closed at any moment of an answer."""

    def __init__(self, url: str, path: str, body: dict[str, Any]) -> None:
        host, port = url.removeprefix("http://").split(":")
        self.socket = socket.create_connection((host, int(port)), timeout=30)
        data = json.dumps(body).encode()
        head = f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(data)}\r\n\r\n"
        self.socket.sendall(head.encode() + data)

    def wait_for(self, text: bytes) -> bytes:
        data = b""
        while text not in data:
            part = self.socket.recv(65536)
            assert part, f"the answer ended without {text!r}: {data!r}"
            data += part
        return data

    def leave(self) -> None:
        self.socket.close()

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.leave()


@contextmanager
def all_slots_taken(url: str, slots: int) -> Iterator[list[Client]]:
    """Endless answers in all `slots`; yields their clients."""
    with ExitStack() as stack:
        body = body_for("/api/chat", "x", stream=True)
        clients = [stack.enter_context(Client(url, "/api/chat", body)) for _ in range(slots)]
        wait_until(lambda: busy(url) == slots, 20, f"{slots} slots are busy")
        yield clients


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def runner(process: Process) -> int:
    (pid,) = children(process.popen.pid)
    return pid

"""`make fuzz`: very many malformed requests, to nginx and to the gateway directly, both with keys.

None may get a 5xx, crash a process, or reach the model server without a valid key. The printed seed
reproduces the same requests.
"""

import argparse
import asyncio
import random
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from gateway.access.allow_list import EVERY_MODEL
from gateway.access.key_file import KeyFile
from tests.fakes.ollama import DONE, FakeOllama
from tests.integration.programs import gateway, nginx
from tests.load.mutations import mutated, valid_requests
from tests.processes import Process, wait_until

AT_ONCE = 100

# The share of requests that go to the gateway directly.
DIRECT = 0.25

# After this much silence, no further answer is expected on a connection.
QUIET_SECONDS = 0.3

LONGEST_SECONDS = 30

SETTINGS = {
    "GATEWAY_ACCOUNT_API": "on",
    "GATEWAY_CORS_ORIGINS": "https://ui.example",
    "GATEWAY_REQUEST_TIMEOUT": "1",
    "GATEWAY_WEB_SEARCH": "on",
    "GATEWAY_WORKERS": "2",
}


@dataclass
class Report:
    statuses: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)


@dataclass
class Target:
    fake: FakeOllama
    processes: tuple[Process, Process]
    ports: tuple[int, int]
    key: str

    def children(self) -> set[str]:
        return {
            pid
            for process in self.processes
            for pid in Path(f"/proc/{process.popen.pid}/task/{process.popen.pid}/children")
            .read_text()
            .split()
        }


@contextmanager
def target() -> Iterator[Target]:
    with tempfile.TemporaryDirectory() as name, FakeOllama().running() as fake:
        folder = Path(name)
        # One JSON object, so that it is an answer on every route, streamed or not.
        fake.answer("good", DONE)
        key = KeyFile(folder / "keys").create("fuzz", "admin", EVERY_MODEL, None)
        with gateway(fake.url, folder, GATEWAY_KEYS_FILE=str(folder / "keys"), **SETTINGS) as (inside, url):
            inside.wait_ready(f"{url}/readyz")
            port = int(url.rpartition(":")[2])
            impatient = ("_timeout 25s;", "_timeout 1s;")
            with nginx(port, impatient, file="conf.d/gateway.conf") as (edge, outside):
                yield Target(fake, (edge, inside), (int(outside.rpartition(":")[2]), port), key)


async def storm(at: Target, requests: list[tuple[int, bytes]], name: str) -> Report:
    report = Report()
    started = time.monotonic()
    left = iter(enumerate(requests))

    async def client() -> None:
        for number, (port, data) in left:
            answer = await answers(port, data)
            statuses = [status.decode() for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", answer)]
            # HTTP/0.9 has no status.
            report.statuses[statuses[0] if statuses else "none"] += 1
            if any(status.startswith("5") for status in statuses) or b"<center>nginx" in answer:
                report.wrong.append(f"{data!r} to port {port} is answered {answer[:300]!r}")
            if number % 1000 == 999:
                seconds = time.monotonic() - started
                print(f"{name}: {number + 1} requests, {seconds:.0f} s", file=sys.stderr, flush=True)

    await asyncio.gather(*(client() for _ in range(AT_ONCE)))
    return report


async def answers(port: int, data: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    received = b""
    # A server may refuse before it has read everything, and close with a reset.
    with suppress(TimeoutError, ConnectionError):
        writer.write(data)
        async with asyncio.timeout(LONGEST_SECONDS):
            while piece := await _next(reader, QUIET_SECONDS if received else None):
                received += piece
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()
    return received


async def _next(reader: asyncio.StreamReader, seconds: float | None) -> bytes:
    async with asyncio.timeout(seconds):
        return await reader.read(65536)


def broken(at: Target) -> list[str]:
    """Log lines that report errors or crashes."""
    signs = (
        "unhandled_exception",
        "Traceback",
        "Exception in ASGI",
        "exited on signal",
        "[alert]",
        "[crit]",
        "[emerg]",
    )
    lines = [
        text for process in at.processes for text in process.log.read_text(errors="replace").splitlines()
    ]
    return [text[:5000] for text in lines if any(sign in text for sign in signs)]


def without_key(at: Target) -> list[str]:
    """Log lines of requests that went upstream without a valid key."""
    lines = [text for text in at.processes[1].log.read_text().splitlines() if '"event": "request"' in text]
    return [text for text in lines if '"backend": "ollama"' in text and '"key": "fuzz"' not in text]


def chosen(chance: random.Random, at: Target, key: str, count: int) -> list[tuple[int, bytes]]:
    valid = valid_requests(key)
    ports = [at.ports[chance.random() < DIRECT] for _ in range(count)]
    return [(port, mutated(chance, chance.choice(valid), valid, key.encode())) for port in ports]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mutations", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}")
    chance = random.Random(arguments.seed)
    with target() as at:
        before = at.children()
        # Invalid, but as similar to the key as possible.
        wrong_key = at.key[:-1] + ("A" if at.key[-1] != "A" else "B")
        known = len(at.fake.received)
        half = arguments.mutations // 2
        closed = asyncio.run(storm(at, chosen(chance, at, wrong_key, half), "without a key"))
        reached = len(at.fake.received) - known
        opened = asyncio.run(storm(at, chosen(chance, at, at.key, arguments.mutations - half), "with a key"))
        wait_until(lambda: not at.fake.answering, 30, "no answer is running upstream")
        problems = closed.wrong + opened.wrong + broken(at) + without_key(at)
        if reached:
            problems.append(f"{reached} requests without a key reached the model server")
        if gone := before - at.children():
            problems.append(f"workers have exited: {gone}")
        for name, report in (("without", closed), ("with", opened)):
            print(f"{name} a key: {dict(sorted(report.statuses.items()))}")
        print(f"{len(at.fake.received) - known} requests reached upstream; {len(problems)} problems")
        print("\n".join(problems[:20]))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())

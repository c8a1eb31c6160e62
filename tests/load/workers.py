"""`make workers`: very many requests over several workers, some of which are killed. The counters must match
what the clients have counted, except for the requests that a worker was handling when it was killed.

The integration tests do a shorter run.
"""

import argparse
import asyncio
import json
import os
import re
import signal
import sys
import tempfile
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from tests.fakes.ollama import DONE, FakeOllama, line
from tests.integration.programs import gateway
from tests.processes import Process, wait_until

AT_ONCE = 16
# A client may have its answer this long before the worker has counted it.
MOMENT = 0.05

GOOD, UNKNOWN = "good", "nobody"
CHUNKS = 4


@dataclass
class Tally:
    """What the clients saw; `doubtful` requests may have been lost with a killed worker."""

    ended: Counter[str] = field(default_factory=Counter)
    doubtful: Counter[str] = field(default_factory=Counter)
    killed: list[int] = field(default_factory=list)


def prepared(fake: FakeOllama) -> FakeOllama:
    fake.answer(GOOD, *[line()] * (CHUNKS - 1), DONE)
    return fake


async def storm(url: str, process: Process, requests: int, kills: int) -> Tally:
    """Sends `requests`, AT_ONCE at a time, every fifth of them for a missing model."""
    tally = Tally()
    under_way: set[int] = set()
    lately: deque[tuple[float, str]] = deque(maxlen=1000)
    kill_at = {requests * (number + 1) // (kills + 1) for number in range(kills)}
    left = iter(range(requests))

    async def client() -> None:
        for number in left:
            model = UNKNOWN if number % 5 == 0 else GOOD
            if number in kill_at:
                victim = next(pid for pid in workers_of(process) if pid not in tally.killed)
                os.kill(victim, signal.SIGKILL)
                tally.killed.append(victim)
                tally.doubtful.update(UNKNOWN if one % 5 == 0 else GOOD for one in under_way)
                tally.doubtful.update(what for at, what in lately if time.monotonic() - at < MOMENT)
            under_way.add(number)
            answered = await ask(url, model)
            under_way.discard(number)
            if answered:
                tally.ended[model] += 1
                lately.append((time.monotonic(), model))

    await asyncio.gather(*(client() for _ in range(AT_ONCE)))
    return tally


async def ask(url: str, model: str) -> bool:
    """Whether the whole answer has arrived."""
    host, port = url.removeprefix("http://").split(":")
    body = json.dumps({"model": model, "messages": [{"role": "user", "content": "hi"}]}).encode()
    head = f"POST /chat HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
    try:
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(head.encode() + body)
        answer = await reader.read()
        writer.close()
    except ConnectionError:
        return False
    return answer.count(b"\ndata: ") == CHUNKS if model == GOOD else b"not found" in answer


def workers_of(process: Process) -> list[int]:
    master = process.popen.pid
    return [int(pid) for pid in Path(f"/proc/{master}/task/{master}/children").read_text().split()]


def counted(url: str) -> Counter[str]:
    """The same, as counted by the gateway."""
    text = httpx.get(f"{url}/metrics", timeout=30).text
    found = {
        GOOD: r'gateway_requests_total\{model="good:latest",outcome="ok",route="/chat",status="200"\}',
        UNKNOWN: r'gateway_requests_total\{model="other",outcome="rejected",route="/chat",status="404"\}',
        "chunks": r'gateway_chunks_total\{model="good:latest"\}',
        "in flight": r"gateway_requests_in_flight\{.*\}",
    }
    return Counter(
        {
            what: round(sum(map(float, re.findall(rf"^{name} (\S+)$", text, re.M))))
            for what, name in found.items()
        }
    )


def disagreements(tally: Tally, counts: Counter[str]) -> list[str]:
    wrong = [
        f"{model}: clients {tally.ended[model]}, counted {counts[model]}, doubtful {tally.doubtful[model]}"
        for model in (GOOD, UNKNOWN)
        if abs(tally.ended[model] - counts[model]) > tally.doubtful[model]
    ]
    if abs(counts["chunks"] - CHUNKS * counts[GOOD]) > CHUNKS * tally.doubtful[GOOD]:
        wrong.append(f"{counts['chunks']} chunks in {counts[GOOD]} answers")
    if counts["in flight"]:
        wrong.append(f"{counts['in flight']} in flight")
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--kills", type=int, default=2)
    arguments = parser.parse_args()
    settings = {"GATEWAY_WORKERS": str(arguments.workers), "GATEWAY_LOG_LEVEL": "error", "GATEWAY_SLOTS": "0"}
    with (
        tempfile.TemporaryDirectory() as folder,
        prepared(FakeOllama()).running() as fake,
        gateway(fake.url, Path(folder), **settings) as (process, url),
    ):
        tally = asyncio.run(storm(url, process, arguments.requests, arguments.kills))
        wait_until(lambda: not counted(url)["in flight"], 10, "everything is settled")
        counts = counted(url)
        wrong = disagreements(tally, counts)
        print(f"{arguments.requests} requests, {arguments.workers} workers, {len(tally.killed)} killed")
        print(f"clients:  {dict(tally.ended)}; under way at a kill: {dict(tally.doubtful)}")
        print(f"counters: {dict(counts)}")
        print("\n".join(wrong) or "they agree")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())

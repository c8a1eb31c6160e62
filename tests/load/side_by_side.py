"""Two gateways measured at the same time: their CPU per token of streams that alternate token by token.

Both share the first core, everything else has the second one, so other load on the machine affects both.
"""

import asyncio
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.fakes.ollama import DONE, FakeOllama, Step, line
from tests.load.workers import workers_of
from tests.processes import ROOT, Process, free_port

STREAMS = 30
TOKENS = 200
PAUSE = 0.01  # between two tokens of a stream, so that each is a separate read and write
USUAL = ROOT / "services/gateway/gunicorn.conf.py"


@dataclass(frozen=True)
class Side:
    """gunicorn's configuration, and a header of the requests."""

    name: str
    configuration: Path = USUAL
    header: str = ""


def compare(one: Side, other: Side, rounds: int) -> tuple[float, str]:
    """How many percent more `one` costs, as the median of the rounds, and how much they differ."""
    os.sched_setaffinity(0, {1})
    fake = FakeOllama()
    steps: list[Step] = [line(), PAUSE] * (TOKENS - 1)
    fake.answer("paced", *steps, DONE)
    more: list[float] = []
    with (
        tempfile.TemporaryDirectory() as folder,
        fake.running(),
        _gateway(one, fake.url, Path(folder)) as first,
        _gateway(other, fake.url, Path(folder)) as second,
    ):
        sides = [(one, *first), (other, *second)]
        for number in range(rounds + 1):
            before = [_cpu_seconds(process) for _, process, _ in sides]
            turns = sides if number % 2 else sides[::-1]
            asyncio.run(_both([(side, url) for side, _, url in turns]))
            costs = [
                (_cpu_seconds(process) - spent) / (STREAMS * TOKENS) * 1e6
                for (_, process, _), spent in zip(sides, before, strict=True)
            ]
            if number:  # the first round warms them up
                more.append((costs[0] / costs[1] - 1) * 100)
                shown = ", ".join(
                    f"{side.name} {cost:.1f} us a token"
                    for (side, _, _), cost in zip(sides, costs, strict=True)
                )
                print(f"round {number}: {shown}: {more[-1]:+.1f} %", flush=True)
    lower, median, upper = statistics.quantiles(more, n=4)
    return median, f"half of the rounds {lower:+.1f} to {upper:+.1f} %"


@contextmanager
def _gateway(side: Side, upstream: str, folder: Path) -> Iterator[tuple[Process, str]]:
    port = free_port()
    settings = {"GATEWAY_PORT": str(port), "GATEWAY_OLLAMA_URL": upstream, "GATEWAY_GRACE": "3"}
    settings["GATEWAY_SLOTS"] = "10000"
    command = ["taskset", "-c", "0", sys.executable, "-m", "gunicorn", "--config", str(side.configuration)]
    process = Process(command, settings, folder / f"gateway-{port}.log")
    try:
        process.wait_ready(f"http://127.0.0.1:{port}/readyz")
        yield process, f"http://127.0.0.1:{port}"
    finally:
        process.stop()


async def _both(turns: list[tuple[Side, str]]) -> None:
    """Runs both loads; the second one's tokens come halfway between the first one's."""
    loads = (_load(side, url, turn * PAUSE / STREAMS / 2) for turn, (side, url) in enumerate(turns))
    await asyncio.gather(*loads)


async def _load(side: Side, url: str, begin: float) -> None:
    """Runs streams whose tokens are evenly spaced: how many arrive together affects the cost most."""
    host, port = url.removeprefix("http://").split(":")
    body = json.dumps({"model": "paced", "messages": [{"role": "user", "content": "hi"}]}).encode()
    lines = ["POST /chat HTTP/1.1", "Host: x", "Connection: close", f"Content-Length: {len(body)}"]
    head = "\r\n".join([*lines, *([side.header] if side.header else [])])

    async def client(number: int) -> None:
        await asyncio.sleep(begin + number * PAUSE / STREAMS)
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(f"{head}\r\n\r\n".encode() + body)
        answer = await reader.read()
        writer.close()
        assert answer.count(b'"done":') == TOKENS

    await asyncio.gather(*map(client, range(STREAMS)))


def _cpu_seconds(process: Process) -> float:
    """CPU time of the worker's threads, from the scheduler's nanosecond counters."""
    (worker,) = workers_of(process)
    threads = Path(f"/proc/{worker}/task").glob("*/schedstat")
    return sum(int(thread.read_text().split()[0]) for thread in threads) / 1e9

"""`make telemetry`: what metrics and logs cost, as CPU per token of a gateway with them and of one without.

Both gateways share the first core, everything else has the second one. Their streams run at the same time and
alternate token by token, so that other load on the machine affects both.
"""

import argparse
import asyncio
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.fakes.ollama import DONE, FakeOllama, Step, line
from tests.load.workers import workers_of
from tests.processes import ROOT, Process, free_port

STREAMS = 30
TOKENS = 200
PAUSE = 0.01  # between two tokens of a stream, so that each is a separate read and write
LIMIT_PERCENT = 3.0
CONFIGURATIONS = {
    "with": ROOT / "services/gateway/gunicorn.conf.py",
    "without": ROOT / "tests/load/silent.py",
}


@contextmanager
def gateway(configuration: Path, upstream: str, folder: Path) -> Iterator[tuple[Process, str]]:
    port = free_port()
    settings = {"GATEWAY_PORT": str(port), "GATEWAY_OLLAMA_URL": upstream, "GATEWAY_GRACE": "3"}
    settings["GATEWAY_SLOTS"] = "10000"
    command = ["taskset", "-c", "0", sys.executable, "-m", "gunicorn", "--config", str(configuration)]
    process = Process(command, settings, folder / f"gateway-{port}.log")
    try:
        process.wait_ready(f"http://127.0.0.1:{port}/readyz")
        yield process, f"http://127.0.0.1:{port}"
    finally:
        process.stop()


async def load(url: str, begin: float) -> None:
    """Runs streams whose tokens are evenly spaced: how many arrive together affects the cost most."""
    host, port = url.removeprefix("http://").split(":")
    body = json.dumps({"model": "paced", "messages": [{"role": "user", "content": "hi"}]}).encode()
    request = f"POST /chat HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"

    async def client(number: int) -> None:
        await asyncio.sleep(begin + number * PAUSE / STREAMS)
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(request.encode() + body)
        answer = await reader.read()
        writer.close()
        assert answer.count(b"\ndata: ") == TOKENS

    await asyncio.gather(*map(client, range(STREAMS)))


async def both(urls: list[str]) -> None:
    """Runs both loads; the second one's tokens come halfway between the first one's."""
    await asyncio.gather(*(load(url, turn * PAUSE / STREAMS / 2) for turn, url in enumerate(urls)))


def cpu_seconds(process: Process) -> float:
    """CPU time of the worker's threads, from the scheduler's nanosecond counters."""
    (worker,) = workers_of(process)
    threads = Path(f"/proc/{worker}/task").glob("*/schedstat")
    return sum(int(thread.read_text().split()[0]) for thread in threads) / 1e9


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=25)
    rounds = parser.parse_args().rounds
    os.sched_setaffinity(0, {1})
    fake = FakeOllama()
    steps: list[Step] = [line(), PAUSE] * (TOKENS - 1)
    fake.answer("paced", *steps, DONE)
    more: list[float] = []
    with (
        tempfile.TemporaryDirectory() as folder,
        fake.running(),
        gateway(CONFIGURATIONS["with"], fake.url, Path(folder)) as first,
        gateway(CONFIGURATIONS["without"], fake.url, Path(folder)) as second,
    ):
        gateways = dict(zip(CONFIGURATIONS, (first, second), strict=True))
        for number in range(rounds + 1):
            turns = list(gateways) if number % 2 else list(reversed(gateways))
            before = {name: cpu_seconds(process) for name, (process, _) in gateways.items()}
            asyncio.run(both([gateways[name][1] for name in turns]))
            costs = {
                name: (cpu_seconds(process) - before[name]) / (STREAMS * TOKENS) * 1e6
                for name, (process, _) in gateways.items()
            }
            if number:  # the first round warms them up
                more.append((costs["with"] / costs["without"] - 1) * 100)
                shown = ", ".join(f"{name} {cost:.1f} us a token" for name, cost in costs.items())
                print(f"round {number}: {shown}: {more[-1]:+.1f} %", flush=True)
    lower, median, upper = statistics.quantiles(more, n=4)
    spread = f"half of the rounds {lower:+.1f} to {upper:+.1f} %"
    print(f"median {median:+.1f} % more with metrics and logs, {spread}")
    return median >= LIMIT_PERCENT


if __name__ == "__main__":
    sys.exit(main())

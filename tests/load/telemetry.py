"""What metrics and logs cost: CPU a token of a gateway with them and of one without, in turns.

`make telemetry` runs it. Both gateways have the first core, everything else the second one.
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
PAUSE = 0.01  # between two tokens of a stream, so that each of them is a read and a write of its own
LIMIT_PERCENT = 3.0
CONFIGURATIONS = {
    "with": ROOT / "services/gateway/gunicorn.conf.py",
    "without": ROOT / "tests/load/silent.py",
}


@contextmanager
def gateway(configuration: Path, upstream: str, folder: Path) -> Iterator[tuple[Process, str]]:
    port = free_port()
    settings = {"GATEWAY_PORT": str(port), "GATEWAY_OLLAMA_URL": upstream, "GATEWAY_GRACE": "3"}
    command = ["taskset", "-c", "0", sys.executable, "-m", "gunicorn", "--config", str(configuration)]
    process = Process(command, settings, folder / f"gateway-{port}.log")
    try:
        process.wait_ready(f"http://127.0.0.1:{port}/readyz")
        yield process, f"http://127.0.0.1:{port}"
    finally:
        process.stop()


async def load(url: str) -> None:
    host, port = url.removeprefix("http://").split(":")
    body = json.dumps({"model": "paced", "messages": [{"role": "user", "content": "hi"}]}).encode()
    request = f"POST /chat HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"

    async def client() -> None:
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(request.encode() + body)
        answer = await reader.read()
        writer.close()
        assert answer.count(b"\ndata: ") == TOKENS

    await asyncio.gather(*(client() for _ in range(STREAMS)))


def cpu_seconds(process: Process) -> float:
    """Of the worker, all of its threads; the scheduler counts in nanoseconds."""
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
    found: dict[str, list[float]] = {name: [] for name in CONFIGURATIONS}
    with (
        tempfile.TemporaryDirectory() as folder,
        fake.running(),
        gateway(CONFIGURATIONS["with"], fake.url, Path(folder)) as first,
        gateway(CONFIGURATIONS["without"], fake.url, Path(folder)) as second,
    ):
        for number in range(rounds + 1):
            turns = list(zip(CONFIGURATIONS, (first, second), strict=True))
            for name, (process, url) in turns if number % 2 else reversed(turns):
                before = cpu_seconds(process)
                asyncio.run(load(url))
                cost = (cpu_seconds(process) - before) / (STREAMS * TOKENS) * 1e6
                if number:  # the first round warms them up
                    found[name].append(cost)
                    print(f"round {number}: {name:7} {cost:.1f} us a token", flush=True)
    medians = {name: statistics.median(costs) for name, costs in found.items()}
    percent = (medians["with"] / medians["without"] - 1) * 100
    print(f"medians: {medians['with']:.1f} us with, {medians['without']:.1f} us without: {percent:+.1f} %")
    return percent >= LIMIT_PERCENT


if __name__ == "__main__":
    sys.exit(main())

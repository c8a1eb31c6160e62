"""`make scale`: how the cost grows with streams and gateways, and what Valkey costs.

Streams with slow tokens go through one nginx to one, two or four gateways; several share their state in a
Valkey. All of them are on one core, the model server and the clients on the other, so that the costs of the
rows are comparable. The tokens a second are the same in each row.
"""

import argparse
import re
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from deploy.native.nginx import find_nginx, nginx_command, render_nginx
from tests.load.bench.client import ClosedLoop, Load
from tests.load.bench.cores import BenchError, Cores, choose, pin, pinned
from tests.load.bench.figures import percentile
from tests.load.bench.systems import upstream
from tests.load.bench.usage import cpu_ns, memory, tree
from tests.load.bench.wire import CHAT, ENDLESS, SHORT
from tests.processes import BIN, Process, free_port, listens, wait_until
from tests.valkey import Server, valkey

TOKENS_A_SECOND = 2000
STREAMS = (100, 1000, 10_000)
GATEWAYS = (1, 2, 4)
# Streams that begin in a second.
RAMP = 250
WINDOW_SECONDS = 10.0
LOOP_SECONDS = 4.0
CONNECTIONS = 32
LATENCIES = 300
US, MS = 1e3, 1e6


@dataclass
class Stack:
    """Processes by what they are, and the edge's port."""

    gateways: list[Process]
    urls: list[str]
    edge: Process
    port: int
    valkey: Server | None

    def roots(self, what: str) -> list[int]:
        if what == "gateway":
            return [process.popen.pid for process in self.gateways]
        if what == "edge":
            return [self.edge.popen.pid]
        return [self.valkey.process.popen.pid] if self.valkey else []

    def cpu(self, what: str) -> float:
        return sum(map(cpu_ns, tree(self.roots(what))))

    def memory(self) -> int:
        return memory(self.roots("gateway")).proportional


# What a process opens besides two connections a stream.
OTHER_DESCRIPTORS = 500
PARTS = ("gateway", "edge", "valkey")


@contextmanager
def stack(cores: Cores, folder: Path, model: str, count: int, *, shared: bool) -> Iterator[Stack]:
    with ExitStack() as running, pinned(cores.proxy):
        server = running.enter_context(valkey(folder)) if shared else None
        processes, ports = [], [free_port() for _ in range(count)]
        for port in ports:
            settings = {
                "GATEWAY_PORT": str(port),
                "GATEWAY_OLLAMA_URL": model,
                "GATEWAY_SLOTS": "100000",
                "GATEWAY_SHARED_URL": server.url if server else "",
                "GATEWAY_OPEN_METRICS": "on",
            }
            process = Process([str(BIN / "gateway"), "serve"], settings, folder / f"gateway-{port}.log")
            running.callback(process.stop)
            processes.append(process)
        urls = [f"http://127.0.0.1:{port}" for port in ports]
        for process, url in zip(processes, urls, strict=True):
            process.wait_ready(f"{url}/healthz")
        edge_port = free_port()
        edge = running.enter_context(_edge(folder, edge_port, ports))
        yield Stack(processes, urls, edge, edge_port, server)


@contextmanager
def _edge(folder: Path, port: int, gateways: list[int]) -> Iterator[Process]:
    """The shipped configuration, with two workers on one core, and as many connections as there can be."""
    program, _ = find_nginx()
    configured = folder / f"edge-{port}"
    values = {
        "NGINX_LISTEN": f"127.0.0.1:{port}",
        "NGINX_GATEWAY": "; server ".join(f"127.0.0.1:{gateway}" for gateway in gateways),
        "NGINX_RESOLVER": "127.0.0.1",
        "NGINX_TLS": "off",
    }
    render_nginx(configured, values)
    file = configured / "nginx.conf"
    text = re.sub(r"worker_processes \w+;", "worker_processes 2;", file.read_text())
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    for limit in ("worker_connections", "worker_rlimit_nofile"):
        text = re.sub(rf"{limit} \d+;", f"{limit} {most};", text)
    file.write_text(text)
    process = Process(nginx_command(program, configured), {}, folder / f"edge-{port}.log")
    try:
        wait_until(lambda: listens(port), 30, f"nginx listens: {process.output}")
        yield process
    finally:
        process.stop()


def streams(cores: Cores, count: int, gateways: int) -> str:
    """A row: what a token, and a stream, cost."""
    pace = count / TOKENS_A_SECOND
    with (
        tempfile.TemporaryDirectory() as name,
        upstream(cores, Path(name), pace) as model,
        stack(cores, Path(name), model.url, gateways, shared=gateways > 1) as running,
    ):
        httpx.post(f"http://127.0.0.1:{running.port}/chat", json={"model": SHORT, "messages": []}, timeout=30)
        before = running.memory()
        load = Load(running.port, CHAT.request(ENDLESS), CHAT.terminal)
        load.add(number / RAMP for number in range(count))
        load.run(count / RAMP + 1)
        load.run_until_begun(60 + 2 * pace)
        used = {part: running.cpu(part) for part in PARTS}
        window = load.run(max(WINDOW_SECONDS, 2 * pace))
        spent = {part: running.cpu(part) - used[part] for part in PARTS}
        grown = running.memory() - before
        lost = load.refused + count - len(load._open)
        load.close()
    cells = [
        f"{count:,}",
        str(gateways),
        *(f"{spent[part] / max(1, window.tokens) / US:.0f}" for part in ("gateway", "edge")),
        f"{spent['valkey'] / max(1, window.tokens) / US:.1f}" if gateways > 1 else "",
        f"{grown / count / 1e3:.0f}",
        *(f"{percentile(window.delays, percent) / MS:.2f}" for percent in (50, 99)),
        str(lost),
    ]
    return f"| {' | '.join(cells)} |"


def requests(cores: Cores, gateways: int, *, shared: bool) -> str:
    """A row: what a short answer costs, and how long one takes that is alone."""
    with (
        tempfile.TemporaryDirectory() as name,
        upstream(cores, Path(name), 0.01) as model,
        stack(cores, Path(name), model.url, gateways, shared=shared) as running,
    ):
        loop = ClosedLoop(running.port, CHAT.request(SHORT, keep=True), CONNECTIONS)
        loop.run(1)
        used, began = {part: running.cpu(part) for part in PARTS}, time.monotonic()
        answers = loop.run(LOOP_SECONDS) * (time.monotonic() - began)
        spent = {part: running.cpu(part) - used[part] for part in PARTS}
        rate = answers / (time.monotonic() - began)
        loop.close()
        latencies = [statistics.median(_latencies(url)) for url in running.urls]
    cells = [
        str(gateways),
        "yes" if shared else "no",
        f"{rate:,.0f}",
        *(f"{spent[part] / max(1, answers) / US:.0f}" for part in ("gateway", "edge")),
        f"{spent['valkey'] / max(1, answers) / US:.0f}" if shared else "",
        f"{min(latencies) * 1000:.2f} to {max(latencies) * 1000:.2f}",
    ]
    return f"| {' | '.join(cells)} |"


def _latencies(url: str) -> list[float]:
    with httpx.Client() as client:
        found = []
        for _ in range(LATENCIES):
            began = time.perf_counter()
            client.post(f"{url}/chat", json={"model": SHORT, "messages": []})
            found.append(time.perf_counter() - began)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(prog="make scale", description=__doc__)
    parser.add_argument("--most", type=int, default=max(STREAMS), help="only up to so many streams")
    arguments = parser.parse_args()
    _, descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors))
    cores = choose()
    pin(cores.load)
    print(f"{cores}; µs are of processor time\n")
    print("| streams | gateways | gateway, µs a token | edge | Valkey | kB a stream | p50, ms | p99 | lost |")
    print("|---:|---:|---:|---:|---:|---:|---:|---:|---:|")
    for count in STREAMS:
        for gateways in GATEWAYS if count <= arguments.most else ():
            if 2 * count / gateways + OTHER_DESCRIPTORS <= descriptors:
                print(streams(cores, count, gateways), flush=True)
            else:
                print(f"| {count:,} | {gateways} | needs more than {descriptors:,} descriptors |", flush=True)
    print(
        "\n| gateways | shared | short answers a second | gateway, µs an answer | edge | Valkey | alone, ms |"
    )
    print("|---:|---|---:|---:|---:|---:|---:|")
    for gateways, shared in ((1, False), (1, True), (2, True), (4, True)):
        print(requests(cores, gateways, shared=shared), flush=True)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BenchError as error:
        sys.exit(str(error))

"""Whether one client's requests delay the streams of others.

A hundred streams run, each with a token every 10 ms, and their reader records the longest gap between two
tokens of a stream. Meanwhile a separate process attacks. The gateway has its own core.
"""

import gc
import json
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.integration.programs import gateway
from tests.load import remains
from tests.load.bench.client import Load
from tests.load.bench.cores import choose, pinned
from tests.load.bench.systems import upstream
from tests.load.bench.wire import CHAT, paced
from tests.processes import Process, wait_until

STREAMS = 100
TOKENS = 1200
PACE_SECONDS = 0.01
# Long enough for the streams to finish, however much they are delayed.
PATIENCE_SECONDS = 120
SETTINGS = {
    "GATEWAY_MAX_BODY_BYTES": str(10 * 1024 * 1024),
    "GATEWAY_LOG_LEVEL": "warning",
    "GATEWAY_SLOTS": "10000",
}


@dataclass(frozen=True)
class Stalls:
    """The longest stalls, in seconds: between two tokens of a stream, and of the gateway's loop if reported.

    `unfinished` streams had no terminal event; `attack` counts the statuses that the attackers got.
    """

    gap: float
    loop: float | None
    unfinished: int
    attack: Counter[str]
    left: list[str]


def measure(attack: str | None, folder: Path) -> Stalls:
    """One run; without an attack it is the baseline of the machine."""
    cores = choose()
    with ExitStack() as started:
        model = started.enter_context(upstream(cores, folder, PACE_SECONDS))
        with pinned(cores.proxy):
            _, url = started.enter_context(gateway(model.url, folder, **SETTINGS))
        started.enter_context(pinned(cores.load))
        load = Load(int(url.rpartition(":")[2]), CHAT.request(paced(TOKENS)), CHAT.terminal)
        load.add(number * PACE_SECONDS / STREAMS for number in range(STREAMS))
        load.run_until_begun(30)
        with _attacking(attack, url, folder) as attackers, _no_collector():
            gaps = load.run(PATIENCE_SECONDS).gaps
            seen = _outcome(attackers)
        load.close()
        wait_until(lambda: not remains.in_gateway(url), 60, "everything is settled")
        return Stalls(
            max(gaps) / 1e9, remains.longest_stall(url), load.unfinished, seen, remains.in_gateway(url)
        )


@contextmanager
def _attacking(attack: str | None, url: str, folder: Path) -> Iterator[Process | None]:
    if attack is None:
        yield None
        return
    command = [sys.executable, "-m", "tests.load.attackers", attack, url.rpartition(":")[2]]
    process = Process(command, {}, folder / f"{attack}.log")
    try:
        yield process
    finally:
        process.stop()


def _outcome(attackers: Process | None) -> Counter[str]:
    """The attackers' last line of output."""
    if attackers is None:
        return Counter()
    attackers.popen.wait(PATIENCE_SECONDS)
    return Counter(json.loads(attackers.output.splitlines()[-1]))


@contextmanager
def _no_collector() -> Iterator[None]:
    """Disables the garbage collector, whose pauses would count as gaps."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()

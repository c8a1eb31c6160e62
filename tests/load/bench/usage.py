"""CPU and memory of processes, from /proc."""

import os
import re
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

TICK = 1e9 / os.sysconf("SC_CLK_TCK")
# Above this share of its core, load or upstream may be the bottleneck.
BUSY = 0.85


def tree(roots: Iterable[int]) -> list[int]:
    """The processes and their descendants."""
    found: list[int] = []
    waiting = list(roots)
    while waiting:
        process = waiting.pop()
        found.append(process)
        for task in Path(f"/proc/{process}/task").glob("*/children"):
            waiting.extend(int(child) for child in task.read_text().split())
    return found


def cpu_ns(process: int) -> float:
    """User and system time of all its threads. `stat` has only hundredths of a second."""
    try:
        threads = Path(f"/proc/{process}/task").glob("*/schedstat")
        return float(sum(int(thread.read_text().split()[0]) for thread in threads))
    except OSError:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) * TICK


def busy_ns(core: int) -> float:
    """Time for which the core has been busy, with any process."""
    counts = re.search(rf"^cpu{core} (.*)$", Path("/proc/stat").read_text(), re.MULTILINE)
    assert counts
    user, nice, system, _, _, interrupts, soft, stolen, *_ = (int(count) for count in counts[1].split())
    return (user + nice + system + interrupts + soft + stolen) * TICK


@dataclass(frozen=True)
class Memory:
    """Bytes: the largest process, and the sum of all with shared memory counted in proportion and in full."""

    worker: int
    proportional: int
    resident: int


def memory(roots: Sequence[int]) -> Memory:
    resident, proportional = [], 0
    for process in tree(roots):
        text = Path(f"/proc/{process}/smaps_rollup").read_text()
        sizes = dict(re.findall(r"^(Rss|Pss): +(\d+) kB", text, re.MULTILINE))
        resident.append(int(sizes["Rss"]) * 1024)
        proportional += int(sizes["Pss"]) * 1024
    return Memory(max(resident), proportional, sum(resident))


class Meter:
    """CPU time since its creation, of the measured processes and of the measuring ones."""

    def __init__(self, measured: Sequence[int], upstream: int, cores: set[int]) -> None:
        self._measured = tree(measured)
        self._upstream = upstream
        self._cores = cores
        self._before = self._now()

    def read(self) -> "Reading":
        proxy, upstream, load, busy, now = (
            after - before for before, after in zip(self._before, self._now(), strict=True)
        )
        return Reading(proxy, upstream, load, max(0.0, busy - proxy - upstream - load), now)

    def _now(self) -> tuple[float, float, float, float, int]:
        return (
            sum(cpu_ns(process) for process in self._measured),
            cpu_ns(self._upstream),
            float(time.process_time_ns()),
            sum(busy_ns(core) for core in self._cores),
            time.monotonic_ns(),
        )


@dataclass(frozen=True)
class Reading:
    """Nanoseconds of CPU time, and of elapsed time."""

    proxy: float
    upstream: float
    load: float
    others: float
    elapsed: float

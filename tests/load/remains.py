"""What a gateway without clients should no longer contain: requests in flight, and tasks."""

import re
from collections import Counter
from pathlib import Path

import httpx

from tests.processes import Process

# The server, the lifespan, the polls of backend and keys, the tasks that count streams and measure stalls,
# the scrape itself, and one more during a poll.
TASKS_AT_REST = 8


def in_gateway(url: str, tasks: int = TASKS_AT_REST) -> list[str]:
    text = httpx.get(f"{url}/metrics", timeout=30).text
    values: Counter[str] = Counter()
    for name, value in re.findall(r"^(gateway_requests_in_flight|gateway_tasks)\b.* (\S+)$", text, re.M):
        values[name] += int(float(value))
    assert len(values) == 2, text
    found = []
    if values["gateway_requests_in_flight"]:
        found.append(f"{values['gateway_requests_in_flight']} requests in flight")
    if values["gateway_tasks"] > tasks:
        found.append(f"{values['gateway_tasks']} tasks")
    return found


def longest_stall(url: str) -> float | None:
    """The longest stall of its event loop in the last minute, in seconds; None if it is not reported."""
    text = httpx.get(f"{url}/metrics", timeout=30).text
    values = re.findall(r"^gateway_loop_stall_seconds(?:\{.*\})? (\S+)$", text, re.M)
    return max(map(float, values)) if values else None


def memory_of_worker(process: Process) -> int:
    """The resident memory of the gateway's worker, in bytes."""
    master = process.popen.pid
    (worker,) = Path(f"/proc/{master}/task/{master}/children").read_text().split()
    (resident,) = re.findall(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{worker}/status").read_text())
    return int(resident) * 1024

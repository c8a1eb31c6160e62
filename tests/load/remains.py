"""What is still in the gateway when everybody has left, and should not be."""

import re
from collections import Counter

import httpx

# The server, the lifespan, the polls of backend and keys, the counts of what runs and of stalls, the scrape
# itself, and one more while a poll is under way.
TASKS_AT_REST = 8


def in_gateway(url: str) -> list[str]:
    text = httpx.get(f"{url}/metrics", timeout=30).text
    values: Counter[str] = Counter()
    for name, value in re.findall(r"^(gateway_requests_in_flight|gateway_tasks)\b.* (\S+)$", text, re.M):
        values[name] += int(float(value))
    assert len(values) == 2, text
    found = []
    if values["gateway_requests_in_flight"]:
        found.append(f"{values['gateway_requests_in_flight']} requests in flight")
    if values["gateway_tasks"] > TASKS_AT_REST:
        found.append(f"{values['gateway_tasks']} tasks")
    return found


def longest_stall(url: str) -> float | None:
    """Of its event loop in the last minute, in seconds, if it tells."""
    text = httpx.get(f"{url}/metrics", timeout=30).text
    told = re.findall(r"^gateway_loop_stall_seconds(?:\{.*\})? (\S+)$", text, re.M)
    return max(map(float, told)) if told else None

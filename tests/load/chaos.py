"""Very many streams through an upstream that goes wrong in every way: nothing may hang, lie or leak.

`make chaos` runs it in full; the integration tests run a shorter one.
"""

import argparse
import asyncio
import json
import random
import re
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from tests.fakes.ollama import Do, FakeOllama, Step
from tests.integration.apis import CASES, Case
from tests.integration.programs import gateway
from tests.processes import Process, wait_until

AT_ONCE = 200
# Short, so that a stream that hangs does not take its time.
SETTINGS = {
    "GATEWAY_EARLY_COMMIT": "0.1",
    "GATEWAY_HEARTBEAT": "0.1",
    "GATEWAY_FIRST_BYTE_TIMEOUT": "0.5",
    "GATEWAY_IDLE_TIMEOUT": "0.5",
    "GATEWAY_LOG_LEVEL": "warning",
}
LEAVES = "leaves"


def faults(case: Case) -> dict[str, tuple[Step, ...]]:
    """Every way in which upstream may treat a request; by name."""
    parts, last, whole = case.answer.parts, case.answer.last, case.answer.whole
    return {
        "good": (*parts, last),
        "in one write": (parts[0] * 100 + last,),
        "in single bytes": tuple(whole[at : at + 1] for at in range(len(whole))),
        "hangs": (Do.HANG,),
        "stalls": (parts[0], Do.HANG),
        "ends": parts,
        "drops": (parts[0], Do.DROP),
        "drops at once": (Do.DROP,),
        "drops within": (parts[0], parts[1][:10], Do.DROP),
        "tells an error": (parts[0], case.answer.error),
        "nonsense": (parts[0], b"<html>\n\n"),
        LEAVES: (parts[0], Do.HANG),
    }


STATUSES = (400, 404, 429, 500, 503)


@dataclass
class Report:
    outcomes: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)


def prepare(fake: FakeOllama) -> None:
    for case in CASES:
        for name, steps in faults(case).items():
            fake.answer(f"{case.name}/{name}", *steps)
    for status in STATUSES:
        fake.answer(f"status/{status}", b'{"error":"no"}', status=status)


async def storm(url: str, streams: int, seed: int, show_progress: bool) -> Report:
    """Runs `streams` random requests, AT_ONCE at a time."""
    chance = random.Random(seed)
    report = Report()
    started = time.monotonic()
    left = iter(range(streams))

    async def client() -> None:
        for number in left:
            case = chance.choice(CASES)
            fault = chance.choice([*faults(case), *(f"status {status}" for status in STATUSES)])
            model = fault.replace("status ", "status/") if fault[-1].isdigit() else f"{case.name}/{fault}"
            problem = await one(url, case, model, leaves=fault == LEAVES)
            report.outcomes[fault] += 1
            if problem:
                report.wrong.append(f"{case.name}, {fault}: {problem}")
            if show_progress and number % 1000 == 0:
                print(f"{number} streams, {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)

    await asyncio.gather(*(client() for _ in range(AT_ONCE)))
    return report


async def one(url: str, case: Case, model: str, *, leaves: bool) -> str | None:
    """Sends one request; returns what was wrong with how it ended."""
    host, port = url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port), limit=16 * 1024 * 1024)
    body = json.dumps(case.request(model)).encode()
    head = f"POST {case.path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
    writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    try:
        if leaves:
            await reader.readuntil(b"\r\n\r\n")
            return None
        async with asyncio.timeout(60):
            answer = await reader.read(-1)
    except TimeoutError:
        return "it did not end"
    finally:
        writer.close()
    head_end = answer.index(b"\r\n\r\n")
    status = int(answer[9:12])
    content = b"".join(re.split(rb"\r\n[0-9a-f]+\r\n", b"\r\n" + answer[head_end + 4 :]))
    if status == 200:
        ends = case.terminals(content)
        return None if ends == 1 else f"{ends} terminal events in {content[:300]!r}"
    return None if b'"error"' in content else f"status {status} without an error: {content[:300]!r}"


def settled(url: str, fake: FakeOllama) -> list[str]:
    """What is still there after the storm and should not be."""
    text = httpx.get(f"{url}/metrics", timeout=30).text
    values: Counter[str] = Counter()
    for name, value in re.findall(r"^(gateway_requests_in_flight|gateway_tasks)\b.* (\S+)$", text, re.M):
        values[name] += int(float(value))
    assert len(values) == 2, text
    found = [f"{fake.answering} answers of upstream"] if fake.answering else []
    if values["gateway_requests_in_flight"]:
        found.append(f"{values['gateway_requests_in_flight']} requests in flight")
    if values["gateway_tasks"] > TASKS_AT_REST:
        found.append(f"{values['gateway_tasks']} tasks")
    return found


# The server, the lifespan, the polls of backend and keys, the counts of what runs and of stalls, the scrape
# itself, and one more while a poll is under way.
TASKS_AT_REST = 8


def memory_of_worker(process: Process) -> int:
    """What the gateway's worker has in memory, in bytes."""
    master = process.popen.pid
    (worker,) = Path(f"/proc/{master}/task/{master}/children").read_text().split()
    (resident,) = re.findall(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{worker}/status").read_text())
    return int(resident) * 1024


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        FakeOllama().running() as fake,
        gateway(fake.url, Path(folder), **SETTINGS) as (process, url),
    ):
        prepare(fake)
        first = asyncio.run(storm(url, 1000, arguments.seed, show_progress=True))
        # Not before a scrape, for which the worker keeps a thread and some megabytes.
        wait_until(lambda: not settled(url, fake), 30, "everything is settled")
        before = memory_of_worker(process)
        report = asyncio.run(storm(url, arguments.streams - 1000, arguments.seed + 1, show_progress=True))
        wait_until(lambda: not settled(url, fake), 30, "everything is settled")
        after = memory_of_worker(process)
        wrong = first.wrong + report.wrong
        print(f"{arguments.streams} streams, {len(wrong)} wrong; {dict(report.outcomes)}")
        print(f"memory: {before / 1e6:.1f} MB after 1,000 streams, {after / 1e6:.1f} MB at the end")
        print(f"left over: {settled(url, fake) or 'nothing'}; upstream answers: {fake.answering}")
        print("\n".join(wrong[:20]))
    return 1 if wrong or after > 1.1 * before else 0


if __name__ == "__main__":
    sys.exit(main())

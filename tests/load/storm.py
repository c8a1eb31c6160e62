"""Very many streams through an upstream with random faults: nothing may hang, end wrongly or leak."""

import asyncio
import json
import random
import re
import sys
import time
from collections import Counter
from dataclasses import dataclass, field

import httpx

from tests.fakes.ollama import Do, FakeOllama, Step
from tests.integration.apis import CASES, Case
from tests.load import remains

AT_ONCE = 200
# Stops after this many failures: if nothing is answered any more, each takes a minute.
GIVE_UP = 200
# Short, so that streams that hang time out quickly.
SETTINGS = {
    "GATEWAY_EARLY_COMMIT": "0.1",
    "GATEWAY_HEARTBEAT": "0.1",
    "GATEWAY_FIRST_BYTE_TIMEOUT": "0.5",
    "GATEWAY_IDLE_TIMEOUT": "0.5",
    "GATEWAY_LOG_LEVEL": "warning",
    # As many as are sent at once: who waits for a slot is another matter.
    "GATEWAY_SLOTS": "10000",
}
LEAVES = "leaves"
# Cases without a fault, which must be answered.
GOOD = ("good", "in one write", "in single bytes")


def faults(case: Case) -> dict[str, tuple[Step, ...]]:
    """Every fault of upstream, by name."""
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
    """`busy` counts 503s with Retry-After in place of good answers."""

    outcomes: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    busy: int = 0


def prepare(fake: FakeOllama) -> None:
    for case in CASES:
        for name, steps in faults(case).items():
            fake.answer(f"{case.name}/{name}", *steps)
    for status in STATUSES:
        fake.answer(f"status/{status}", b'{"error":"no"}', status=status)


async def storm(url: str, streams: int, seed: int, show_progress: bool, at_once: int = AT_ONCE) -> Report:
    """Runs `streams` random requests, `at_once` at a time."""
    chance = random.Random(seed)
    report = Report()
    started = time.monotonic()
    left = iter(range(streams))

    async def client() -> None:
        for number in left:
            case = chance.choice(CASES)
            fault = chance.choice([*faults(case), *(f"status {status}" for status in STATUSES)])
            report.outcomes[fault] += 1
            await one(url, case, fault, report)
            if len(report.wrong) >= GIVE_UP:
                return
            if show_progress and number % 1000 == 0:
                print(f"{number} streams, {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)

    await asyncio.gather(*(client() for _ in range(at_once)))
    return report


async def one(url: str, case: Case, fault: str, report: Report) -> None:
    """Sends one request and records what was wrong with its answer."""
    model = fault.replace("status ", "status/") if fault[-1].isdigit() else f"{case.name}/{fault}"
    try:
        answer = await ask(url, case, model, leaves=fault == LEAVES)
        problem = check(case, fault, answer, report) if answer else None
    except TimeoutError:
        problem = "it did not end"
    except (OSError, EOFError, ValueError) as error:
        problem = f"no answer: {error}"
    if problem:
        report.wrong.append(f"{case.name}, {fault}: {problem}")


async def ask(
    url: str, case: Case, model: str, *, leaves: bool, source: str = "", **fields: str
) -> bytes | None:
    """The whole answer; None if the client leaves when it begins. `source` is the client's address, and
    `fields` are added to the request.
    """
    host, port = url.removeprefix("http://").split(":")
    body = json.dumps(case.request(model, **fields)).encode()
    head = f"POST {case.path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
    async with asyncio.timeout(60):
        reader, writer = await asyncio.open_connection(
            host, int(port), limit=16 * 1024 * 1024, local_addr=(source, 0) if source else None
        )
        try:
            writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
            if not leaves:
                return await reader.read(-1)
            begin = await reader.readuntil(b"\r\n\r\n")
            return None if begin.startswith(b"HTTP/1.1 200 ") else begin + await reader.read(-1)
        finally:
            writer.close()


def check(case: Case, fault: str, answer: bytes, report: Report) -> str | None:
    """What is wrong with the answer, if anything. Raises ValueError if it is not HTTP."""
    head_end = answer.index(b"\r\n\r\n")
    status = int(answer[9:12])
    content = b"".join(re.split(rb"\r\n[0-9a-f]+\r\n", b"\r\n" + answer[head_end + 4 :]))
    if status == 200:
        ends = case.terminals(content)
        return None if ends == 1 else f"{ends} terminal events in {content[:300]!r}"
    if fault in GOOD and status == 503 and b"\r\nretry-after: " in answer[:head_end].lower():
        report.busy += 1
    elif fault in GOOD:
        return f"status {status} instead of the answer: {content[:300]!r}"
    return None if b'"error"' in content else f"status {status} without an error: {content[:300]!r}"


def kept(url: str, requests: int) -> list[str]:
    """What is wrong with good answers on one kept connection, which must stay open between them."""
    wrong = []
    with httpx.Client(base_url=url, timeout=30, limits=httpx.Limits(max_connections=1)) as client:
        for _ in range(requests):
            try:
                answer = client.post(CASES[0].path, json=CASES[0].request(f"{CASES[0].name}/good"))
            except httpx.HTTPError as error:
                wrong.append(f"on a kept connection: {type(error).__name__} {error}")
                if isinstance(error, httpx.TimeoutException):
                    break
            else:
                if answer.status_code != 200 or CASES[0].terminals(answer.content) != 1:
                    wrong.append(f"on a kept connection: {answer.status_code} {answer.text[:100]}")
    return wrong


def settled(url: str, fake: FakeOllama) -> list[str]:
    """What is left after the storm and should not be; empty if nothing is."""
    found = [f"{fake.answering} answers of upstream"] if fake.answering else []
    return found + remains.in_gateway(url)

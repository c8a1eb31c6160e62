"""Very many requests for one model with few slots: they wait, are refused, leave and are stopped, while
upstream fails in every way. At the end slots, queue and counters must be exact.
"""

import asyncio
import random
import re
import sys
import time
from collections import Counter
from dataclasses import dataclass, field

import httpx

from tests.fakes.ollama import DONE, FakeOllama
from tests.integration.apis import CASES, Case
from tests.load import storm

MODEL = "contended"
SLOTS = 8
# Clients at once: a few more than slots and queue have room for.
QUEUE = storm.AT_ONCE - 2 * SLOTS
SETTINGS = {
    **storm.SETTINGS,
    "GATEWAY_SLOTS": str(SLOTS),
    "GATEWAY_QUEUE": str(QUEUE),
    "GATEWAY_QUEUE_PER_CALLER": str(QUEUE),
    "GATEWAY_ADMIN_API": "on",
}
FULL = b"server busy, please try again"
STOPPED = b"the answer was stopped"
# Before a client that was refused tries again, and between two requests that are stopped.
PAUSE_SECONDS = 0.2


@dataclass
class Tally:
    """What the clients have counted; `refused` requests were sent again."""

    sent: int = 0
    refused: int = 0
    stopped: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    report: storm.Report = field(default_factory=storm.Report)


def prepare(fake: FakeOllama) -> None:
    storm.prepare(fake)
    fake.answer(MODEL, DONE)


async def contend(url: str, requests: int, seed: int) -> Tally:
    """Runs `requests` random requests until each has been accepted, and stops some of them."""
    chance = random.Random(seed)
    tally = Tally()
    left = iter(range(requests))
    started = time.monotonic()

    async def client() -> None:
        for number in left:
            case = chance.choice(CASES)
            fault = chance.choice([*storm.faults(case), *(f"status {status}" for status in storm.STATUSES)])
            tally.outcomes[fault] += 1
            while await _is_refused(url, case, fault, tally):
                tally.refused += 1
                await asyncio.sleep(PAUSE_SECONDS * chance.random())
            if len(tally.report.wrong) >= storm.GIVE_UP:
                return
            if number % 1000 == 0:
                print(f"{number} requests, {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)

    stopping = asyncio.create_task(_stop_some(url, chance, tally))
    await asyncio.gather(*(client() for _ in range(storm.AT_ONCE)))
    stopping.cancel()
    await asyncio.wait({stopping})
    return tally


async def _is_refused(url: str, case: Case, fault: str, tally: Tally) -> bool:
    """Send one request; True if the queue was full. Records what else was wrong with its answer."""
    answers = fault.replace("status ", "status/") if fault[-1].isdigit() else f"{case.name}/{fault}"
    tally.sent += 1
    problem = None
    try:
        answer = await storm.ask(url, case, MODEL, leaves=fault == storm.LEAVES, answers=answers)
        if answer and FULL in answer:
            return True
        if answer and not (STOPPED in answer and b'"error"' in answer):
            problem = storm.check(case, fault, answer, tally.report)
    except TimeoutError:
        problem = "it did not end"
    except (OSError, EOFError, ValueError) as error:
        problem = f"no answer: {error}"
    if problem:
        tally.report.wrong.append(f"{case.name}, {fault}: {problem}")
    return False


async def _stop_some(url: str, chance: random.Random, tally: Tally) -> None:
    """Stop requests that run or wait, until cancelled."""
    async with httpx.AsyncClient(base_url=url, timeout=30) as http:
        while True:
            turns = (await http.get("/queue")).json()
            ids = [turn["request_id"] for turn in (*turns["running"], *turns["waiting"])]
            if ids:
                answer = await http.delete(f"/queue/{chance.choice(ids)}")
                tally.stopped += answer.status_code == 204
            await asyncio.sleep(PAUSE_SECONDS)


def left_over(url: str, fake: FakeOllama) -> list[str]:
    """What is left in gateway and upstream and should not be."""
    values = counted(url)
    found = storm.settled(url, fake)
    found += [f"{name} {values[name]}" for name in ("busy", "waiting") if values[name]]
    turns = httpx.get(f"{url}/queue", timeout=30).json()
    return found + [f"{len(list_)} in /queue, {state}" for state, list_ in turns.items() if list_]


def disagreements(url: str, tally: Tally) -> list[str]:
    """Where the gateway's counters differ from what the clients have counted."""
    values = counted(url)
    ended = values["admitted"] + values["left"] + values["refused"]
    pairs = {
        "requests": (values["requests"], tally.sent),
        "refusals": (values["refusals"], tally.refused),
        "refusals in gateway_queue_seconds": (values["refused"], tally.refused),
        "requests in gateway_queue_seconds": (ended, tally.sent),
    }
    return [
        f"{what}: counted {ours}, clients {theirs}"
        for what, (ours, theirs) in pairs.items()
        if ours != theirs
    ]


ROUTES = "|".join(re.escape(case.path) for case in CASES)
SERIES = {
    "busy": r'gateway_slots\{.*state="busy".*\}',
    "waiting": r"gateway_queue_length(?:\{.*\})?",
    "refusals": r"gateway_refusals_total\{.*\}",
    "refused": r'gateway_queue_seconds_count\{outcome="refused"\}',
    "admitted": r'gateway_queue_seconds_count\{outcome="admitted"\}',
    "left": r'gateway_queue_seconds_count\{outcome="left"\}',
    "requests": rf'gateway_requests_total\{{.*route="(?:{ROUTES})".*\}}',
}


def counted(url: str) -> dict[str, int]:
    text = httpx.get(f"{url}/metrics", timeout=30).text
    return {
        name: round(sum(map(float, re.findall(rf"^{series} (\S+)$", text, re.MULTILINE))))
        for name, series in SERIES.items()
    }

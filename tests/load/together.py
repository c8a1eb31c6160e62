"""Several gateways that share one queue in Valkey: they are killed and added while many callers ask, and
upstream fails in every way. The model server must never have more than its slots, and callers wait as fairly
as with one gateway.
"""

import asyncio
import os
import random
import signal
import statistics
import sys
import time
from collections import Counter, defaultdict
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from tests.fakes.ollama import DONE, FakeOllama
from tests.integration.apis import CASES
from tests.integration.programs import SERVE
from tests.load import contention, remains, storm
from tests.processes import Process, free_port
from tests.valkey import Server

MODEL = "together"
SLOTS = 4
# Requests at the same time of each caller, an address of this machine: a greedy one, and modest ones.
CALLERS = {"127.0.0.2": 60, **{f"127.0.0.{number}": 2 for number in range(3, 9)}}
# Beside those of every gateway: the connection to Valkey, beats, standings, answers, and what runs them.
TASKS_AT_REST = remains.TASKS_AT_REST + 11
SETTINGS = {
    **storm.SETTINGS,
    "GATEWAY_SLOTS": str(SLOTS),
    "GATEWAY_QUEUE": "1000",
    "GATEWAY_QUEUE_PER_CALLER": "1000",
    "GATEWAY_ADMIN_API": "on",
}


@dataclass
class Tally:
    """`lost` are answers that ended with a killed gateway; `waits` are of good answers, by caller."""

    asked: int = 0
    lost: int = 0
    waits: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    outcomes: Counter[str] = field(default_factory=Counter)
    report: storm.Report = field(default_factory=storm.Report)

    def wait(self, greedy: bool) -> float:
        """The median, in seconds, of the greedy caller or of the modest ones."""
        first, *others = CALLERS
        callers = [first] if greedy else others
        return statistics.median([wait for caller in callers for wait in self.waits[caller]])


class Together:
    def __init__(self, fake: FakeOllama, server: Server, folder: Path, stack: ExitStack) -> None:
        storm.prepare(fake)
        fake.answer(MODEL, DONE)
        self._fake = fake
        self._folder = folder
        self._stack = stack
        self._settings = {**SETTINGS, "GATEWAY_LOG_LEVEL": "warning", "GATEWAY_SHARED_URL": server.url}
        self.gateways: dict[str, Process] = {}
        self._killed: dict[str, float] = {}

    def add(self) -> None:
        port = free_port()
        settings = {**self._settings, "GATEWAY_PORT": str(port), "GATEWAY_OLLAMA_URL": self._fake.url}
        process = Process([*SERVE], settings, self._folder / f"gateway-{port}.log")
        self._stack.callback(process.stop)
        url = f"http://127.0.0.1:{port}"
        process.wait_ready(f"{url}/healthz")
        self.gateways[url] = process

    def kill(self, chance: random.Random) -> None:
        url = chance.choice(list(self.gateways))
        self._killed[url] = time.monotonic()
        os.killpg(self.gateways.pop(url).popen.pid, signal.SIGKILL)

    async def run(self, requests: int, seed: int, kills: int) -> Tally:
        """`requests` random ones, over all gateways. Meanwhile some are killed, and one is added."""
        chance, tally = random.Random(seed), Tally()
        events = dict.fromkeys((requests * (at + 1) // (kills + 2) for at in range(kills)), self.kill)
        adds_at = requests * (kills + 1) // (kills + 2) if kills else -1
        left, started = iter(range(requests)), time.monotonic()

        async def client(caller: str) -> None:
            for number in left:
                if event := events.get(number):
                    event(chance)
                if number == adds_at:
                    await asyncio.to_thread(self.add)
                if number % 1000 == 0:
                    seconds = time.monotonic() - started
                    print(f"{number} requests, {seconds:.0f} s", file=sys.stderr, flush=True)
                await self._one(caller, chance, tally)
                if len(tally.report.wrong) >= storm.GIVE_UP:
                    return

        await asyncio.gather(*(client(caller) for caller, at_once in CALLERS.items() for _ in range(at_once)))
        return tally

    async def _one(self, caller: str, chance: random.Random, tally: Tally) -> None:
        case = chance.choice(CASES)
        fault = chance.choice([*storm.faults(case), *(f"status {status}" for status in storm.STATUSES)])
        answers = fault.replace("status ", "status/") if fault[-1].isdigit() else f"{case.name}/{fault}"
        url, began = chance.choice(list(self.gateways)), time.monotonic()
        tally.asked += 1
        tally.outcomes[fault] += 1
        try:
            leaves = fault == storm.LEAVES
            answer = await storm.ask(url, case, MODEL, leaves=leaves, source=caller, answers=answers)
            problem = storm.check(case, fault, answer, tally.report) if answer else None
        except TimeoutError:
            problem = "it did not end"
        except (OSError, EOFError, ValueError) as error:
            problem = f"no answer: {error}"
        if problem and self._killed.get(url, 0) > began:
            tally.lost += 1
        elif problem:
            tally.report.wrong.append(f"{case.name}, {fault}: {problem}")
        elif fault == "good":
            tally.waits[caller].append(time.monotonic() - began)

    def left_over(self) -> list[str]:
        """What is left in the gateways and upstream and should not be."""
        found = []
        for url in self.gateways:
            values = contention.counted(url)
            found += [f"{self._fake.answering} answers of upstream"] if self._fake.answering else []
            found += remains.in_gateway(url, TASKS_AT_REST)
            found += [f"{name} {values[name]}" for name in ("busy", "waiting") if values[name]]
            turns = httpx.get(f"{url}/queue", timeout=30).json()
            found += [f"{len(rows)} in /queue, {state}" for state, rows in turns.items() if rows]
        return found

"""`make fairness`: how long a caller waits next to one that sends very many requests, and how good the
estimates of waiting times are.

Through nginx and the gateway to the embedded engine with two slots. Caller A sends fifty requests at once,
caller B one every few seconds until A has its answers: once with the gateway's queue, once without it
(GATEWAY_SLOTS=0), in which case they wait in the engine's own queue, first come, first served.
"""

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from gateway.access.allow_list import EVERY_MODEL
from gateway.access.key_file import KeyFile
from tests.integration.stacks import question, started

SLOTS = 2
ANSWERS = 50
TOKENS = 40
EVERY_SECONDS = 5.0
POLL_SECONDS = 0.1
STORY = "Tell me a very long story."
CALLERS = ("a", "b", "c")
# The bars: waits in answers' times, errors as a share.
LONGEST_WAIT = 1.2
LARGEST_ERROR = 0.3


@dataclass
class Answer:
    """Times in seconds of the monotonic clock."""

    asked_at: float
    first_at: float = 0
    ended_at: float = 0
    complete: bool = False

    @property
    def to_first_token(self) -> float:
        return self.first_at - self.asked_at


class Client:
    """Sends requests as one of CALLERS, and reads the queue as an admin."""

    def __init__(self, http: httpx.AsyncClient, keys: dict[str, str]) -> None:
        self._http = http
        self._keys = keys

    async def ask(self, who: str, tokens: int = TOKENS, request_id: str = "") -> Answer:
        answer = Answer(time.monotonic())
        headers = {**self._key(who), **({"X-Request-Id": request_id} if request_id else {})}
        body = question(STORY, num_predict=tokens, temperature=0)
        async with self._http.stream("POST", "/chat", json=body, headers=headers) as response:
            async for line in response.aiter_lines():
                if line.startswith("data: ") and '"message"' in line:
                    answer.first_at = answer.first_at or time.monotonic()
                    answer.complete = '"done":true' in line
        answer.ended_at = time.monotonic()
        return answer

    async def queue(self) -> dict[str, list[dict[str, Any]]]:
        turns: dict[str, list[dict[str, Any]]] = (
            await self._http.get("/queue", headers=self._key("admin"))
        ).json()
        return turns

    def _key(self, who: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._keys[who]}"}


@contextmanager
def stack(**environment: str) -> Iterator[tuple[str, dict[str, str]]]:
    """The URL of nginx, and the callers' keys."""
    with tempfile.TemporaryDirectory() as name:
        file = KeyFile(Path(name) / "keys")
        keys = {who: file.create(who, "user", EVERY_MODEL, None) for who in CALLERS}
        keys["admin"] = file.create("admin", "admin", EVERY_MODEL, None)
        settings = {
            "ENGINE_SLOTS": str(SLOTS),
            "GATEWAY_KEYS_FILE": str(Path(name) / "keys"),
            "GATEWAY_QUEUE_PER_CALLER": str(ANSWERS),
            **environment,
        }
        with started(Path(name), **settings) as running:
            yield running.url, keys


@dataclass
class Result:
    """Times in seconds; `waits` are B's, without the time to the first token of an unloaded stack."""

    unloaded: float
    answer: float
    waits: list[float]
    lost: int
    total: float
    idle: int
    polls: int

    @property
    def wait(self) -> float:
        """B's median wait in answers' times."""
        return statistics.median(self.waits) / self.answer


async def compete(client: Client) -> Result:
    for _ in range(2):
        await client.ask("b")  # loads the model
    unloaded = statistics.median([(await client.ask("b")).to_first_token for _ in range(5)])
    began = time.monotonic()
    many = [asyncio.create_task(client.ask("a")) for _ in range(ANSWERS)]
    all_of_a = asyncio.gather(*many)
    polling = asyncio.create_task(_idle_slots(client, all_of_a))
    every = []
    while not all_of_a.done():
        await asyncio.wait({all_of_a}, timeout=EVERY_SECONDS)
        if not all_of_a.done():
            every.append(asyncio.create_task(client.ask("b")))
    total = time.monotonic() - began
    answers = await all_of_a
    idle, polls = await polling
    waits = [(await each).to_first_token - unloaded for each in every]
    return Result(
        unloaded,
        unloaded + statistics.median(answer.ended_at - answer.first_at for answer in answers),
        waits,
        sum(not answer.complete for answer in answers),
        total,
        idle,
        polls,
    )


async def _idle_slots(client: Client, until: asyncio.Future[Any]) -> tuple[int, int]:
    """How often a slot was free while a request waited, of so many polls."""
    idle = polls = 0
    while not until.done():
        turns = await client.queue()
        idle += bool(turns["waiting"]) and len(turns["running"]) < SLOTS
        polls += 1
        await asyncio.sleep(POLL_SECONDS)
    return idle, polls


@dataclass
class Estimate:
    """The first estimate of a request's wait, and its time."""

    seconds: float
    at: float


@dataclass
class Seen:
    estimates: dict[str, Estimate] = field(default_factory=dict)
    errors: list[float] = field(default_factory=list)


async def steady_mix(client: Client, seconds: float) -> list[float]:
    """The relative errors of the first estimates of requests in a steady mix: callers with several requests
    each, whose answers have different lengths.
    """
    seen = Seen()
    end = time.monotonic() + seconds

    async def keep_asking(who: str, number: int) -> None:
        turn = 0
        while time.monotonic() < end:
            turn += 1
            length = TOKENS // 2 + TOKENS * ((number + turn) % 3) // 2
            await client.ask(who, length, f"{who}-{number}-{turn}")

    asking = [asyncio.create_task(keep_asking(who, number)) for who in CALLERS for number in range(4)]
    while time.monotonic() < end:
        _note(seen, await client.queue())
        await asyncio.sleep(POLL_SECONDS)
    await asyncio.gather(*asking)
    return seen.errors


def _note(seen: Seen, turns: dict[str, list[dict[str, Any]]]) -> None:
    now = time.monotonic()
    for turn in turns["waiting"]:
        if "eta_seconds" in turn:
            seen.estimates.setdefault(turn["request_id"], Estimate(turn["eta_seconds"], now))
    for turn in turns["running"]:
        if first := seen.estimates.pop(turn["request_id"], None):
            waited = now - turn["age_seconds"] - first.at
            if waited > 1:  # shorter ones are less than the unit of the estimate
                seen.errors.append(abs(first.seconds - waited) / waited)


async def measure(url: str, keys: dict[str, str], mix_seconds: float) -> tuple[Result, list[float]]:
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=url, timeout=600, limits=limits) as http:
        client = Client(http, keys)
        result = await compete(client)
        return result, await steady_mix(client, mix_seconds) if mix_seconds else []


def table(results: dict[str, Result]) -> str:
    rows = {
        "B's median wait, answers' times": lambda result: f"{result.wait:.2f}",
        "B's longest wait, answers' times": lambda result: f"{max(result.waits) / result.answer:.2f}",
        "B's requests": lambda result: f"{len(result.waits)}",
        "one answer's time, s": lambda result: f"{result.answer:.2f}",
        "A's answers lost": lambda result: f"{result.lost}",
        "A's fifty answers, s": lambda result: f"{result.total:.0f}",
    }
    lines = [f"| | {' | '.join(results)} |", f"|---|{'---:|' * len(results)}"]
    lines += [f"| {name} | {' | '.join(map(cell, results.values()))} |" for name, cell in rows.items()]
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(prog="make fairness", description=__doc__)
    parser.add_argument("--mix", type=float, default=45, help="seconds of the steady mix (%(default)s)")
    arguments = parser.parse_args()
    with stack() as (url, keys):
        fair, errors = asyncio.run(measure(url, keys, arguments.mix))
    with stack(GATEWAY_SLOTS="0") as (url, keys):
        unfair, _ = asyncio.run(measure(url, keys, 0))
    print(table({"with the gateway's queue": fair, "without it": unfair}))
    error = statistics.median(errors)
    print(f"\na slot was free while requests waited: {fair.idle} of {fair.polls} times")
    print(f"median error of eta_seconds: {100 * error:.0f} % of the wait, {len(errors)} requests")
    good = fair.wait < LONGEST_WAIT and not fair.lost and not fair.idle and error < LARGEST_ERROR
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())

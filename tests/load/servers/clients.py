"""Clients that send streaming chat requests again and again, and what became of each."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import httpx

from tests.integration.stacks import question

CLIENTS = 60
TOKENS = 20


@dataclass
class Report:
    """`lost` are requests that failed before their first token; `wrong` those that did not end as they must.
    `waits` are the seconds to each first token.
    """

    whole: int = 0
    begun_and_failed: int = 0
    lost: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)

    def note(self, status: int, lines: list[str], request_id: str) -> None:
        kinds = Counter(_kind(line) for line in lines)
        tokens, ends = kinds["token"] + kinds["done"], kinds["done"] + kinds["error"]
        if status != 200 or (kinds["error"] and not tokens):
            self.lost.append(f"{request_id}: {status} {lines[-3:]}")
        elif ends != 1:
            self.wrong.append(f"{request_id}: {ends} terminal events, {lines[-3:]}")
        elif kinds["error"]:
            self.begun_and_failed += 1
        else:
            self.whole += 1


def _kind(line: str) -> str:
    if line == "event: error":
        return "error"
    if not line.startswith("data: ") or '"message":{' not in line:
        return ""
    return "done" if '"done":true' in line else "token"


async def ask(http: httpx.AsyncClient, report: Report, request_id: str) -> None:
    asked_at, first_at = time.monotonic(), None
    status, lines = 0, []
    body = question(f"Tell me a story about {request_id}.", num_predict=TOKENS)
    try:
        async with http.stream("POST", "/chat", json=body, headers={"X-Request-Id": request_id}) as response:
            status = response.status_code
            async for line in response.aiter_lines():
                lines.append(line)
                if first_at is None and _kind(line) == "token":
                    first_at = time.monotonic()
                    report.waits.append(first_at - asked_at)
    except httpx.HTTPError as error:
        lines.append(f"{type(error).__name__} {error}")
        status = 0 if first_at is None else status
    report.note(status, lines, request_id)


@asynccontextmanager
async def asking(url: str, clients: int = CLIENTS) -> AsyncIterator[Report]:
    """Clients that ask until the end of the block; it ends when the last answers have."""
    report, stopped = Report(), asyncio.Event()
    limits = httpx.Limits(max_connections=None)

    async def client(number: int) -> None:
        turn = 0
        while not stopped.is_set():
            turn += 1
            await ask(http, report, f"c{number}-{turn}-{random.randrange(10**6)}")

    async with httpx.AsyncClient(base_url=url, timeout=600, limits=limits) as http:
        tasks = [asyncio.create_task(client(number)) for number in range(clients)]
        try:
            yield report
        finally:
            stopped.set()
            await asyncio.gather(*tasks)

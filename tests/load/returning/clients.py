"""Very many answers that stay, whose clients leave and come back at random, or never: each gets all of its
answer, once, and nothing is left of them.
"""

import asyncio
import random
import sys
import time
from collections import Counter
from dataclasses import dataclass, field

import httpx

from tests.integration.chat.question import question
from tests.load import contention
from tests.load.returning.readers import Reader
from tests.load.returning.scripts import ENDLESS, MODEL, SCRIPTS

AT_ONCE = 100
SLOTS = contention.SLOTS
# For those who come back, and for those who never do.
RESUME = 60
GRACE_SECONDS = 1
LONGEST_PAUSE_SECONDS = 0.6
SETTINGS = {
    **contention.SETTINGS,
    "GATEWAY_EARLY_COMMIT": "2",
    "GATEWAY_HEARTBEAT": "0.2",
    "GATEWAY_FIRST_BYTE_TIMEOUT": "30",
    "GATEWAY_IDLE_TIMEOUT": "30",
    "GATEWAY_QUEUE_TIMEOUT": "120",
    # Small enough for ended answers to be removed while others run.
    "GATEWAY_RESUME_TOTAL_BYTES": str(24 << 20),
    "GATEWAY_RESUME_KEEP": "60",
}
PATIENCE_SECONDS = 120
# How they behave, and how many of them.
WAYS = {"returns": 50, "responds async": 20, "never returns": 15, "stops": 15}


@dataclass
class Tally:
    """`gone` has when clients who never come back have left, by their request's id."""

    ways: Counter[str] = field(default_factory=Counter)
    sent: set[str] = field(default_factory=set)
    gone: dict[str, float] = field(default_factory=dict)
    connections: int = 0
    wrong: list[str] = field(default_factory=list)


class Clients:
    """`whole` is each script's answer, as read in one go without `Prefer`, with the id `REFERENCE`."""

    def __init__(self, http: httpx.AsyncClient, seed: int) -> None:
        self.tally = Tally()
        self._http = http
        self._seed = seed
        self._whole: dict[str, bytes] = {}

    async def run(self, answers: int) -> None:
        started = time.monotonic()
        await asyncio.gather(*(self._refer(model) for model in SCRIPTS))
        left = iter(range(answers))

        async def client() -> None:
            for number in left:
                await self._one(number)
                if number % 100 == 0:
                    seconds = time.monotonic() - started
                    print(f"{number} answers, {seconds:.0f} s", file=sys.stderr, flush=True)

        await asyncio.gather(*(client() for _ in range(AT_ONCE)))

    async def _refer(self, model: str) -> None:
        """Read the answer that all others are compared with."""
        reader, asked = Reader(), {"X-Request-Id": self._id(model)}
        async with self._http.stream(
            "POST", "/chat", json=question(MODEL, answers=model), headers=asked
        ) as response:
            body = await response.aread()
        events = [event for event in body.split(b"\n\n") if event.startswith((b"id: ", b"event: error\n"))]
        # Only the error of an answer that stays has an id.
        frames = [
            event if event.startswith(b"id: ") else b"id: %d\n%b" % (number, event)
            for number, event in enumerate(events, 1)
        ]
        reader.frames = [frame + b"\n\n" for frame in frames]
        ids = [frame.split(b"\n", 1)[0] for frame in frames]
        assert ids == [b"id: %d" % number for number in range(1, len(frames) + 1)], ids
        self._whole[model] = reader.content

    def _id(self, what: object) -> str:
        return f"returning-{self._seed}-{what}"

    async def _one(self, number: int) -> None:
        """One client's answer; records what was wrong with it."""
        chance = random.Random(f"{self._seed} {number}")
        way = chance.choices([*WAYS], [*WAYS.values()])[0]
        self.tally.ways[way] += 1
        self.tally.sent.add(self._id(number))
        problem: str | None
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                problem = await (self._leave if way == "never returns" else self._read)(number, way, chance)
        except TimeoutError:
            problem = "it did not end"
        except httpx.HTTPError as error:
            problem = f"{type(error).__name__}: {error}"
        if problem:
            self.tally.wrong.append(f"answer {number}, {way}: {problem}")

    async def _leave(self, number: int, way: str, chance: random.Random) -> str | None:
        reader = Reader()
        _, problem = await self._ask(number, ENDLESS, f"resume={GRACE_SECONDS}", reader, _some(chance, 150))
        self.tally.gone[self._id(number)] = time.monotonic()
        return problem

    async def _read(self, number: int, way: str, chance: random.Random) -> str | None:
        model = chance.choice(SCRIPTS)
        reader = Reader(_pause(chance))
        cuts = [_some(chance, 5000) for _ in range(chance.randint(0, 4))]
        if way == "responds async":
            location, problem = await self._ask(number, model, "respond-async", reader, 0)
        else:
            first = cuts.pop() if cuts else None
            location, problem = await self._ask(number, model, f"resume={RESUME}", reader, first)
            if problem or (first is None and way != "stops"):
                return problem or self._compare(number, model, reader)
        if problem:
            return problem
        other = Reader(_pause(chance))
        beside = None
        if chance.random() < 0.2:
            beside = asyncio.create_task(other.read_on(self._http, location, None, random.Random(number)))
            self.tally.connections += 1
        for most in (*cuts, None):
            if way == "stops" and chance.random() < 0.5:
                break
            await asyncio.sleep(LONGEST_PAUSE_SECONDS * chance.random())
            self.tally.connections += 1
            status = await reader.read_on(self._http, location, most, chance)
            if status == 204:
                break
            if status != 200:
                return f"status {status} after {reader.seen}"
        if way == "stops":
            return await self._stop(number, model, location, beside, other)
        if beside:
            if (status := await beside) != 200:
                return f"status {status} for a second reader"
            if problem := self._compare(number, model, other):
                return f"a second reader: {problem}"
        return self._compare(number, model, reader)

    async def _ask(
        self, number: int, model: str, prefer: str, reader: Reader, most: int | None
    ) -> tuple[str, str | None]:
        """The answer's address, and what is wrong."""
        headers = {"Prefer": prefer, "X-Request-Id": self._id(number)}
        self.tally.connections += 1
        async with self._http.stream(
            "POST", "/chat", json=question(MODEL, answers=model), headers=headers
        ) as response:
            if response.status_code not in (200, 202):
                return "", f"status {response.status_code}: {(await response.aread())[:200]!r}"
            location = response.headers.get("location")
            if not location:
                return "", "no location"
            await reader.read(response, most)
        return location, None

    async def _stop(
        self,
        number: int,
        model: str,
        location: str,
        beside: asyncio.Task[int] | None,
        other: Reader,
    ) -> str | None:
        """End and forget the answer: whoever reads gets an end, and nobody can come back."""
        if (status := (await self._http.delete(location)).status_code) != 204:
            return f"status {status} for DELETE"
        if (status := (await self._http.get(location)).status_code) != 404:
            return f"status {status} after DELETE"
        if not beside or await beside == 404:
            return None
        *before, last = other.frames
        if b"answer_stopped" not in last:
            return self._compare(number, model, other)
        whole = self._expected(number, model)
        is_right = whole.startswith(b"".join(before)) and last.startswith(b"id: %d\n" % (len(before) + 1))
        return None if is_right else "a stopped reader read something else"

    def _compare(self, number: int, model: str, reader: Reader) -> str | None:
        whole, content = self._expected(number, model), reader.content
        if content == whole:
            return None
        at = next((at for at, pair in enumerate(zip(whole, content, strict=False)) if pair[0] != pair[1]), -1)
        sizes = f"{len(content)} of {len(whole)} bytes of {model}"
        return f"{sizes}, different at {at}: {content[-200:]!r}"

    def _expected(self, number: int, model: str) -> bytes:
        return self._whole[model].replace(self._id(model).encode(), self._id(number).encode())


def _some(chance: random.Random, most: int) -> int:
    """How many bytes a client reads before it leaves, often none."""
    return chance.choice([0, chance.randint(1, most), chance.randint(1, 100)])


def _pause(chance: random.Random) -> float:
    """Most readers do not wait; a few are very slow."""
    return chance.choices([0, 0.005, 0.02], [80, 15, 5])[0]

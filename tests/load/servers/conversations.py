"""What it is worth that a conversation stays at its server, which has its prompt cached."""

import asyncio
import json
import random
import statistics
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.integration.engines import MODEL
from tests.load.servers.clients import TOKENS

CONVERSATIONS = 13
TURNS = 10
# Of each engine: enough for the conversations at home there, however unevenly they are spread.
SLOTS = 8
# Between an answer and the next question.
THINK_SECONDS = (2.0, 8.0)
SYSTEM = "You are a patient teacher. Explain each step in simple words, with an example from daily life. "
WORDS = (
    "river",
    "lamp",
    "winter",
    "bread",
    "engine",
    "letter",
    "garden",
    "window",
    "silver",
    "music",
    "harbour",
)


@dataclass
class Evaluations:
    """Seconds of prompt evaluation by turn, from 0, of all conversations."""

    seconds: list[list[float]] = field(default_factory=lambda: [[] for _ in range(TURNS)])
    failed: int = 0

    def median(self, first: int, last: int) -> float:
        return statistics.median(value for turn in self.seconds[first:last] for value in turn)


async def converse(url: str, *, is_recognizable: bool) -> Evaluations:
    """All conversations at once. One that is not recognizable has another beginning for the gateway at each
    turn, and the same one for the model: a field of the first message that nobody reads.
    """
    found = Evaluations()
    seed = random.randrange(10**6)  # no cached prompt is a prefix of these
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=url, timeout=600, limits=limits) as http:

        async def conversation(number: int) -> None:
            chance = random.Random(seed + number)
            messages: list[dict[str, Any]] = [
                {"role": "system", "content": f"Conversation {seed + number}. {SYSTEM * 4}"}
            ]
            for turn in range(TURNS):
                await asyncio.sleep(chance.uniform(*THINK_SECONDS))
                text = " ".join(chance.choices(WORDS, k=20))
                messages.append({"role": "user", "content": f"What do these have in common: {text}?"})
                if not is_recognizable:
                    messages[0]["turn"] = turn
                last, answer = await _answer(http, messages)
                if not last.get("done"):
                    found.failed += 1
                    return
                found.seconds[turn].append(last.get("prompt_eval_duration", 0) / 1e9)
                messages.append({"role": "assistant", "content": answer})

        await asyncio.gather(*(conversation(number) for number in range(CONVERSATIONS)))
    return found


async def _answer(http: httpx.AsyncClient, messages: list[dict[str, Any]]) -> tuple[dict[str, Any], str]:
    """The last line of an answer, and its text."""
    body = {"model": MODEL, "messages": messages, "options": {"num_predict": TOKENS, "temperature": 0}}
    text = ""
    fields: dict[str, Any] = {}
    async with http.stream("POST", "/api/chat", json=body) as response:
        async for line in response.aiter_lines():
            fields = json.loads(line)
            text += fields.get("message", {}).get("content", "")
    return fields, text

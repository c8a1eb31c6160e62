"""Asks from within a pod, and prints one JSON object per line about each answer. Arguments:

URL KEY streams COUNT TOKENS    that many answers at once
URL KEY asking COUNT TOKENS     that many clients, one answer after the other, until standard input ends
"""

import asyncio
import json
import sys
from collections.abc import Callable
from typing import Any

import httpx

# A prompt to which the model's answer does not end by itself.
PROMPT = "Write a very long story about a lighthouse keeper."


def say(**fields: Any) -> None:
    print(json.dumps(fields), flush=True)


async def ask(client: httpx.AsyncClient, tokens: int, begun: Callable[[], None]) -> dict[str, Any]:
    """How one answer ended: `end` is its last event, or what broke it."""
    question = {
        "model": "smollm2:135m",
        "messages": [{"role": "user", "content": PROMPT}],
        "options": {"num_predict": tokens, "temperature": 0},
    }
    events = 0
    end = ""
    try:
        async with client.stream("POST", "/chat", json=question) as response:
            if response.status_code != 200:
                return {"events": 0, "end": (await response.aread()).decode()}
            begun()
            async for line in response.aiter_lines():
                if line.startswith("data: ") and '"state"' not in line:
                    events, end = events + 1, line.removeprefix("data: ")
    except httpx.HTTPError as error:
        end = repr(error)
    return {"events": events, "end": end}


async def streams(client: httpx.AsyncClient, count: int, tokens: int) -> None:
    missing = count

    def begun() -> None:
        nonlocal missing
        missing -= 1
        if not missing:
            say(begun=count)

    for answer in await asyncio.gather(*(ask(client, tokens, begun) for _ in range(count))):
        say(**answer)


async def asking(client: httpx.AsyncClient, count: int, tokens: int) -> None:
    ended = asyncio.create_task(asyncio.to_thread(sys.stdin.read))

    async def one() -> None:
        while not ended.done():
            say(**await ask(client, tokens, lambda: None))

    await asyncio.gather(*(one() for _ in range(count)))


async def main(url: str, key: str, way: str, count: str, tokens: str) -> None:
    headers = {"Authorization": f"Bearer {key}"}
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(
        base_url=url, headers=headers, timeout=300, limits=limits, trust_env=False
    ) as client:
        await {"streams": streams, "asking": asking}[way](client, int(count), int(tokens))


asyncio.run(main(*sys.argv[1:]))

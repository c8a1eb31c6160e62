"""Requests that wait for a slot, each in its own task, for the tests of queue and slots."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import httpx

from gateway.access.allow_list import EVERY_MODEL
from gateway.access.key_file import KeyFile
from gateway.access.roles import Role
from tests.fakes.ollama import Do, FakeOllama
from tests.integration.apis import Case, whole_answer
from tests.integration.programs import gateway
from tests.processes import Process

CALLERS: dict[str, Role] = {"alice": "user", "bob": "user", "carol": "user", "admin": "admin"}
# Short, so that a stream shows soon that it waits.
PROMPT = {"GATEWAY_EARLY_COMMIT": "0.2", "GATEWAY_HEARTBEAT": "0.3", "GATEWAY_GRACE": "4"}

_NUMBERS = count(1)


async def until(condition: Callable[[], object], what: str, seconds: float = 20) -> None:
    """Poll `condition` until it is true; fails with `what` when `seconds` have passed."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        await asyncio.sleep(0.01)


@dataclass
class Served:
    """A gateway in front of a fake Ollama; without keys a caller is an address of this machine. `others` are
    gateways with which it shares its state.
    """

    url: str
    fake: FakeOllama
    process: Process
    keys: dict[str, str]
    others: Sequence[Process] = ()

    @property
    def output(self) -> str:
        return "".join(process.output for process in (self.process, *self.others))

    @asynccontextmanager
    async def queue(self) -> AsyncIterator["Queue"]:
        """Every answer is held until `fake.go_on`; whatever still waits at the end leaves."""
        self.fake.pause()
        async with httpx.AsyncClient(
            base_url=self.url, timeout=60, limits=httpx.Limits(max_connections=None)
        ) as http:
            queue = Queue(self, http)
            try:
                yield queue
            finally:
                for asked in queue.asked:
                    await asked.leave()
                await until(lambda: not self.fake.answering, "nothing is answered any more")


@contextmanager
def served(
    folder: Path, environment: Mapping[str, str], callers: Mapping[str, Role] = CALLERS
) -> Iterator[Served]:
    """`callers` are the names and roles of the keys."""
    settings = {**PROMPT, **environment}
    keys = create_keys(folder, callers)
    if keys:
        settings["GATEWAY_KEYS_FILE"] = str(folder / "keys")
    fake = FakeOllama()
    with fake.running(), gateway(fake.url, folder, **settings) as (process, url):
        yield Served(url, fake, process, keys)


def create_keys(folder: Path, callers: Mapping[str, Role] = CALLERS) -> dict[str, str]:
    """The keys of callers by name, in the file `keys`."""
    file = KeyFile(folder / "keys")
    return {name: file.create(name, role, EVERY_MODEL, None) for name, role in callers.items()}


class Asked:
    """A request and what its client has received so far: `pieces`, each with its time."""

    def __init__(
        self, queue: "Queue", case: Case, who: str, stream: bool, model: str, url: str, fields: dict[str, Any]
    ) -> None:
        self.id = f"asked-{next(_NUMBERS)}"
        self.case = case
        self.status = 0
        self.headers = httpx.Headers()
        self.pieces: list[tuple[float, bytes]] = []
        body = case.request(model, **fields, **({} if stream else {"stream": False}))
        self.task = asyncio.create_task(self._run(queue, url + case.path, body, who))

    async def _run(self, queue: "Queue", url: str, body: dict[str, Any], who: str) -> None:
        headers = {**queue.key(who), "X-Request-Id": self.id}
        async with queue.http.stream("POST", url, json=body, headers=headers) as response:
            self.headers, self.status = response.headers, response.status_code
            async for piece in response.aiter_raw():
                self.pieces.append((time.monotonic(), piece))

    @property
    def body(self) -> bytes:
        return b"".join(piece for _, piece in self.pieces)

    async def end(self) -> "Asked":
        async with asyncio.timeout(30):
            await self.task
        return self

    async def leave(self) -> None:
        """Close the connection, unless the answer is complete."""
        self.task.cancel()
        await asyncio.wait({self.task})


class Queue:
    """The requests of one test, and the gateway's view of them."""

    def __init__(self, served: Served, http: httpx.AsyncClient) -> None:
        self.served = served
        self.fake = served.fake
        self.http = http
        self.asked: list[Asked] = []

    def key(self, who: str) -> dict[str, str]:
        key = self.served.keys.get(who)
        return {"Authorization": f"Bearer {key}"} if key else {}

    def answer(self, case: Case, stream: bool = True) -> None:
        """Hold the answers of the model `m`, in this API's format."""
        parts = (*case.answer.parts, case.answer.last) if stream else (whole_answer(case),)
        self.fake.answer("m", Do.WAIT, *parts)

    def ask(
        self,
        case: Case,
        who: str = "alice",
        *,
        stream: bool = True,
        model: str = "m",
        url: str = "",
        **fields: Any,
    ) -> Asked:
        """Send a request, to the gateway or to `url`."""
        asked = Asked(self, case, who, stream, model, url, fields)
        self.asked.append(asked)
        return asked

    async def runs(self, case: Case, who: str = "alice", **fields: Any) -> Asked:
        """A request that has reached upstream."""
        asked = self.ask(case, who, **fields)
        await until(lambda: self.reached(asked), f"{asked.id} reaches upstream")
        return asked

    async def waits(self, case: Case, who: str = "alice", **fields: Any) -> Asked:
        """A request that waits in the queue."""
        asked = self.ask(case, who, **fields)
        await self.until_state("waiting", asked)
        return asked

    def reached(self, asked: Asked) -> bool:
        """Whether upstream has received the request."""
        return any(received.headers.get("x-request-id") == asked.id for received in self.fake.received)

    async def turns(self, who: str = "admin") -> dict[str, list[dict[str, Any]]]:
        answer = await self.http.get("/queue", headers=self.key(who))
        assert answer.status_code == 200
        lists: dict[str, list[dict[str, Any]]] = answer.json()
        return lists

    async def ids(self, state: str, who: str = "admin") -> list[str]:
        return [turn["request_id"] for turn in (await self.turns(who))[state]]

    async def until_state(self, state: str, *asked: Asked, seconds: float = 20) -> None:
        """Wait until these are in `state`, `running` or `waiting`."""
        expected = {each.id for each in asked}
        deadline = time.monotonic() + seconds
        while not expected <= set(ids := await self.ids(state)):
            assert time.monotonic() < deadline, f"not within {seconds} s {state}: {expected}, but {ids}"
            await asyncio.sleep(0.01)

    async def until_gone(self, asked: Asked, seconds: float = 1) -> None:
        """Wait until the request neither runs nor waits."""
        deadline = time.monotonic() + seconds
        while asked.id in str(lists := await self.turns()):
            assert time.monotonic() < deadline, f"{asked.id} is still there after {seconds} s: {lists}"
            await asyncio.sleep(0.01)

    async def stop(self, asked: Asked, who: str) -> int:
        """The status of DELETE /queue/{id}."""
        answer = await self.http.delete(f"/queue/{asked.id}", headers=self.key(who))
        return answer.status_code

"""A run of such clients, and what must hold of the gateway meanwhile and afterwards."""

import asyncio
import json
import re
from collections import Counter
from dataclasses import dataclass, field

import httpx

from tests.fakes.ollama import FakeOllama
from tests.load import contention
from tests.load.remains import memory_of_worker
from tests.load.returning import scripts
from tests.load.returning.clients import GRACE_SECONDS, SETTINGS, SLOTS, Clients, Tally
from tests.processes import Process, wait_until

MOST_KEPT_BYTES = int(SETTINGS["GATEWAY_RESUME_TOTAL_BYTES"])
SAMPLE_SECONDS = 0.25
# For the machine, beside the grace.
LATE_SECONDS = 2
# How late the model server may notice that an answer was ended, and its slot is another's.
UNNOTICED_SECONDS = 0.25
# How much more of the worker's memory than what is kept may be in use: buffers, and what allocators hold.
MORE_MEMORY_BYTES = 64 << 20


@dataclass
class Trial:
    """The gateway at `url` behind nginx at `edge`."""

    fake: FakeOllama
    process: Process
    url: str
    edge: str
    most_kept: int = 0
    memory: int = 0
    wrong: list[str] = field(default_factory=list)

    def run(self, answers: int, seed: int) -> Tally:
        scripts.prepare(self.fake, seed)
        before = memory_of_worker(self.process)
        tally = asyncio.run(self._run(answers, seed))
        self.wrong += tally.wrong
        if self.most_kept > MOST_KEPT_BYTES:
            self.wrong.append(f"{self.most_kept} bytes kept, more than {MOST_KEPT_BYTES}")
        if self.memory > before + MOST_KEPT_BYTES + MORE_MEMORY_BYTES:
            self.wrong.append(f"{self.memory} bytes of memory, {before} before")
        wait_until(lambda: self._logged() >= tally.sent, 30, "every request has its log line")
        self._check_log(tally)
        texts = self.process.output.splitlines()
        self.wrong += [text for text in texts if text[:1] != "{" or '"level": "error"' in text]
        self._check_upstream(tally)
        return tally

    def left_over(self) -> list[str]:
        """What is left in gateway and upstream and should not be."""
        found = contention.left_over(self.url, self.fake)
        running = _kept(self.url)["running"]
        return found + ([f"{running} answers that run"] if running else [])

    async def _run(self, answers: int, seed: int) -> Tally:
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
        async with httpx.AsyncClient(base_url=self.edge, timeout=60, limits=limits) as http:
            clients = Clients(http, seed)
            sampling = asyncio.create_task(self._sample())
            await clients.run(answers)
            sampling.cancel()
            await asyncio.gather(sampling, return_exceptions=True)
            return clients.tally

    async def _sample(self) -> None:
        while True:
            kept = await asyncio.to_thread(_kept, self.url)
            self.most_kept = max(self.most_kept, kept["bytes"])
            self.memory = max(self.memory, memory_of_worker(self.process))
            await asyncio.sleep(SAMPLE_SECONDS)

    def _lines(self) -> list[dict[str, object]]:
        lines = (json.loads(text) for text in self.process.output.splitlines() if text.startswith("{"))
        return [entry for entry in lines if entry.get("route") == "/chat"]

    def _logged(self) -> set[object]:
        return {entry["request_id"] for entry in self._lines()}

    def _check_log(self, tally: Tally) -> None:
        lines = Counter(entry["request_id"] for entry in self._lines())
        twice = [name for name in tally.sent if lines[name] != 1]
        self.wrong += [f"{name}: {lines[name]} log lines" for name in twice]
        outcomes = {entry["request_id"]: entry["outcome"] for entry in self._lines()}
        for name in tally.gone:
            if outcomes[name] != "client_gone":
                self.wrong.append(f"{name}: {outcomes[name]}, though its client never came back")

    def _check_upstream(self, tally: Tally) -> None:
        """The slots at every moment, and when those of clients who never come back were free again."""
        changes = []
        for received in self.fake.received:
            late = UNNOTICED_SECONDS if received.gone.is_set() else 0
            changes += [(received.began_at, 1), (max(received.began_at, received.ended_at - late), -1)]
            if left := tally.gone.get(received.headers.get("x-request-id", "")):
                seconds = received.gone_at - left
                if not GRACE_SECONDS - 0.5 < seconds < GRACE_SECONDS + LATE_SECONDS:
                    self.wrong.append(f"freed {seconds:.2f} s after its client had left")
        running = most = 0
        for _, change in sorted(changes):
            running += change
            most = max(most, running)
        if most > SLOTS:
            self.wrong.append(f"{most} answers at the model server, which has {SLOTS} slots")


def _kept(url: str) -> dict[str, int]:
    text = httpx.get(f"{url}/metrics", timeout=30).text
    found = {"bytes": 0, "running": 0, "ended": 0}
    for name, value in re.findall(r"^(gateway_answers_kept\S*) (\S+)$", text, re.M):
        state = re.search(r'state="(\w+)"', name)
        found[state[1] if state else "bytes"] += int(float(value))
    return found

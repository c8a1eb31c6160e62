"""All answers that this gateway makes, and lets others read."""

import asyncio
import time
from collections import defaultdict

from ..answers.kept import Kept
from .answer_messages import Grown, Left, Read, pack
from .answer_stream import channel_of
from .link import Link, Unavailable
from .mirror import READ_SECONDS, RUNNING_SECONDS, Mirror

# How long events are collected, to be written together.
BATCH_SECONDS = 0.02
# After Valkey was away, everything is written again, at a pace that leaves it time for the rest.
BATCH_BYTES = 1 << 20
TICK_SECONDS = 1.0


class Home:
    """Ended answers live for `keep` seconds."""

    def __init__(self, link: Link, keep: float) -> None:
        self._link = link
        self._keep = keep
        self._mirrors: dict[str, Mirror] = {}
        self._due: list[Mirror] = []
        self._is_due = asyncio.Event()
        self._up_at = 0.0
        link.when_up(self._up)
        link.when_down(self._down)

    def mirror(self, kept: Kept) -> Mirror:
        mirror = self._mirrors[kept.id] = Mirror(kept, self._link, self._keep, self._make_due)
        return mirror

    async def run(self) -> None:
        """Until cancelled."""
        await asyncio.gather(self._write(), self._look_after())

    async def aclose(self) -> None:
        """Write what is still to be written."""
        while self._due and self._link.up:
            self._write_batch()
        try:
            await self._link.command("PING")
        except Unavailable:
            return  # it is lost, as all else that was there

    def receive(self, message: Read | Left) -> None:
        mirror = self._mirrors.get(message.id)
        match message:
            case Read(member=member, position=position) if mirror:
                mirror.read(member, position)
            case Left(member=member) if mirror:
                mirror.leave(member)

    def _make_due(self, mirror: Mirror) -> None:
        self._due.append(mirror)
        self._is_due.set()

    async def _write(self) -> None:
        while True:
            await self._is_due.wait()
            await asyncio.sleep(BATCH_SECONDS)
            self._write_batch()

    def _write_batch(self) -> None:
        batch, self._due = self._due, []
        self._is_due.clear()
        written = 0
        grown = defaultdict[str, list[str]](list)
        for at, mirror in enumerate(batch):
            if written > BATCH_BYTES:
                self._due += batch[at:]
                self._is_due.set()
                break
            written += mirror.write()
            for member in mirror.away:
                grown[member].append(mirror.kept.id)
        for member, ids in grown.items():
            self._link.publish(channel_of(self._link, member), pack(Grown(ids)))

    async def _look_after(self) -> None:
        prolonged_at = time.monotonic()
        while True:
            await asyncio.sleep(TICK_SECONDS)
            now = time.monotonic()
            self._mirrors = {name: mirror for name, mirror in self._mirrors.items() if not mirror.is_over}
            mirrors = list(self._mirrors.values())
            if self._link.up:
                for mirror in mirrors:
                    mirror.begin_again()
                    if now - self._up_at > READ_SECONDS:
                        mirror.leave_silent(now)
            if now - prolonged_at > RUNNING_SECONDS / 3:
                prolonged_at = now
                await asyncio.gather(*(mirror.prolong() for mirror in mirrors if not mirror.kept.ended))

    def _up(self) -> None:
        self._up_at = time.monotonic()
        for mirror in self._mirrors.values():
            mirror.begin_again()

    def _down(self) -> None:
        for mirror in self._mirrors.values():
            mirror.lost()

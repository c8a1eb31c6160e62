"""llama.cpp's process: its start, its end, and what it says."""

import asyncio
import sys
from collections import deque
from collections.abc import Mapping

import structlog

from .errors import LoadError

# A process that is still there after this has stopped reacting.
STOP_SECONDS = 5.0

# What it has said last, which may be why it has died.
LINES_KEPT = 20

log = structlog.get_logger()


class Child:
    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.address = ""
        self._process = process
        self._said: deque[str] = deque(maxlen=LINES_KEPT)
        # The event loop itself holds tasks only weakly.
        self._listening = asyncio.create_task(self._listen())

    @classmethod
    async def start(cls, options: Mapping[str, object]) -> "Child":
        """Loads a model; how long that takes depends on its size."""
        arguments = [f"--{name}={value}" for name, value in options.items()]
        pipe = asyncio.subprocess.PIPE
        # Its words go through a pipe of ours, or it would wait for whoever reads our own stderr.
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-P", "-m", "engine.runner", *arguments, stdin=pipe, stdout=pipe, stderr=pipe
        )
        child = cls(process)
        assert process.stdout is not None
        try:
            child.address = (await process.stdout.readline()).decode().strip()
        except asyncio.CancelledError:
            process.kill()
            await process.wait()
            raise
        if not child.address.startswith("http://"):
            status = await process.wait()
            raise LoadError(f"llama.cpp could not load the model: {child.address or f'exit status {status}'}")
        return child

    @property
    def last_words(self) -> list[str]:
        return list(self._said)

    @property
    def status(self) -> int | None:
        """None while it runs."""
        return self._process.returncode

    async def ended(self) -> None:
        await self._process.wait()

    async def stop(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()

    async def _listen(self) -> None:
        assert self._process.stderr is not None
        while part := await self._process.stderr.read(4096):
            for line in part.decode("utf-8", "replace").splitlines():
                # It may quote a client's text, so it is kept out of the logs unless it explains a crash.
                self._said.append(line)
                log.debug("llama_says", line=line)

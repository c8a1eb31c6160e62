"""One program of the stack: what it is, and its process with its output."""

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
import time
from collections import deque
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import httpx

PR_SET_PDEATHSIG = 1  # linux/prctl.h
# A longer line is shown in pieces.
MAX_LINE_BYTES = 1024 * 1024
LAST_LINES = 15


@dataclass(frozen=True)
class Program:
    """`ready_url` answers 200 once the program is ready.

    `stop_seconds` is how long it may take to end after `stop_signal`. A program that is `in_front` waits for
    those behind it to finish, so they are stopped meanwhile. One that `restarts` is started again if it ends
    after it was ready. `pid_file` has its process ID while it runs.
    """

    name: str
    command: list[str]
    environment: Mapping[str, str]
    ready_url: str
    stop_seconds: float
    stop_signal: signal.Signals = signal.SIGTERM
    in_front: bool = False
    restarts: bool = False
    pid_file: Path | None = None


@dataclass
class Running:
    """`last_answer` is the last one from `ready_url`; `pause` is the one before this start, in seconds."""

    program: Program
    process: asyncio.subprocess.Process
    last_lines: deque[str] = field(default_factory=lambda: deque(maxlen=LAST_LINES))
    last_answer: str = "nothing"
    was_ready: bool = False
    pause: float = 0
    started: float = field(default_factory=time.monotonic)

    def failed(self, how: str) -> str:
        """The message about it, with its last output."""
        output = "\n".join(f"  {line}" for line in self.last_lines) or "  (nothing)"
        return f"{self.program.name} {how}, so the stack was stopped. Its last output:\n\n{output}"


async def clean_up(running: Running) -> None:
    """Ends what is left of the program: also processes that it started and left behind."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(running.process.pid, signal.SIGKILL)
    await running.process.wait()
    if running.program.pid_file:
        with contextlib.suppress(OSError):
            running.program.pid_file.unlink(missing_ok=True)


async def until_ready(running: Running) -> None:
    async with httpx.AsyncClient(timeout=5, trust_env=False) as client:
        while True:
            with contextlib.suppress(httpx.TransportError):
                response = await client.get(running.program.ready_url)
                if response.status_code == 200:
                    return
                running.last_answer = response.text
            await asyncio.sleep(0.05)


async def lines(pipe: int) -> AsyncIterator[bytes]:
    """Lines without their ends, until the other end of the pipe is closed."""
    reader = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(pipe, "rb")
    )
    with contextlib.closing(transport):
        rest = b""
        while piece := await reader.read(65536):
            *whole, rest = (rest + piece).split(b"\n")
            for line in whole:
                yield line
            if len(rest) >= MAX_LINE_BYTES:
                yield rest
                rest = b""
        if rest:
            yield rest


# Looked up in advance: between fork and exec, other threads may hold locks that the lookup needs.
_prctl = ctypes.CDLL(None).prctl if sys.platform == "linux" else None


def die_with_parent() -> None:
    """Makes the kernel end the program if the supervisor is killed, so that no orphan is left."""
    if _prctl:
        _prctl(PR_SET_PDEATHSIG, signal.SIGTERM)

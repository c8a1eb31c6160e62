"""Brings programs up in order, shows their output with their names, and stops all of them when one ends."""

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
import time
from collections import deque
from collections.abc import AsyncIterator, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import NoReturn, TypeVar

import httpx
from output import Output

PR_SET_PDEATHSIG = 1  # linux/prctl.h
COLOURS = {"engine": "33", "gateway": "36", "nginx": "32"}
# A line that never ends is shown in pieces.
LONGEST_LINE = 1024 * 1024
LAST_LINES = 15
LAST_LINE_LENGTH = 500
# For the rest of what a program wrote, once it has ended; something else may hold its pipe open for ever.
LAST_WORDS_SECONDS = 1.0

Result = TypeVar("Result")


class ProgramFailed(Exception):
    """A program could not be started, was not ready in time, or ended by itself; the message says it all."""


class Stopped(Exception):
    """The stack is to be stopped, as somebody has asked."""


@dataclass(frozen=True)
class Program:
    """`ready_url` answers 200 once the program can do its work.

    `stop_seconds` is how long it may take to end after `stop_signal`. A program that is `in_front` only waits
    for the ones behind it to finish, so they are stopped meanwhile.
    """

    name: str
    command: list[str]
    environment: Mapping[str, str]
    ready_url: str
    stop_seconds: float
    stop_signal: signal.Signals = signal.SIGTERM
    in_front: bool = False


@dataclass
class Running:
    """`heard` is what it answered when it was asked whether it is ready."""

    program: Program
    process: asyncio.subprocess.Process
    last_lines: deque[str] = field(default_factory=lambda: deque(maxlen=LAST_LINES))
    heard: str = "nothing"

    def failed(self, how: str) -> str:
        """That it has, with what it wrote last."""
        wrote = "\n".join(f"  {line}" for line in self.last_lines) or "  (nothing)"
        return f"{self.program.name} {how}, so the stack is stopped. It wrote last:\n\n{wrote}"


class Supervisor:
    """Runs programs, each in a process group of its own, until `stop`."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._tasks: set[asyncio.Task[None]] = set()
        self._died: str | None = None
        self.running: list[Running] = []
        self.stopping = asyncio.Event()

    async def start(self, program: Program, seconds: float) -> float:
        """Starts `program` and waits until it is ready; returns the seconds that took.

        Raises ProgramFailed, Stopped.
        """
        started = time.monotonic()
        running = await self._launch(program)
        try:
            async with asyncio.timeout(seconds):
                await self.unless_stopped(_until_ready(running))
        except TimeoutError:
            how = f"was not ready within {seconds:.0f} s (it answers: {running.heard})"
            raise ProgramFailed(running.failed(how)) from None
        return time.monotonic() - started

    async def unless_stopped(self, work: Coroutine[None, None, Result]) -> Result:
        """What `work` returns, unless the stack is to be stopped meanwhile.

        Raises Stopped, or ProgramFailed if that is because a program has ended.
        """
        working = asyncio.create_task(work)
        stopping = asyncio.create_task(self.stopping.wait())
        try:
            await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if not stopping.done():
                return working.result()
        finally:
            for task in (working, stopping):
                task.cancel()
            await asyncio.gather(working, stopping, return_exceptions=True)
        return await self.stopped()

    async def stopped(self) -> NoReturn:
        """Waits for a reason to stop. Raises Stopped, ProgramFailed."""
        await self.stopping.wait()
        raise ProgramFailed(self._died) if self._died else Stopped

    async def stop(self) -> None:
        """Stops the programs in reverse order and returns when nothing of them is left."""
        self.stopping.set()
        for running in reversed(self.running):
            if running.process.returncode is None:
                running.process.send_signal(running.program.stop_signal)
                if not running.program.in_front:
                    await self._wait(running)
        for running in self.running:
            if running.program.in_front:
                await self._wait(running)
            # Whatever the program had started and left behind.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(running.process.pid, signal.SIGKILL)
            await running.process.wait()
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=LAST_WORDS_SECONDS)
            for task in late:
                task.cancel()

    async def _launch(self, program: Program) -> Running:
        # A pipe of our own: asyncio's would make a program that has ended look alive for as long as
        # anything that it has started holds the other end.
        output, write_end = os.pipe()
        try:
            process = await asyncio.create_subprocess_exec(
                *program.command,
                env={**os.environ, **program.environment},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=write_end,
                stderr=asyncio.subprocess.STDOUT,
                # Ctrl-C in the terminal is for the supervisor, which then stops the programs in order.
                start_new_session=True,
                preexec_fn=_die_with_parent,
            )
        except OSError as error:
            os.close(output)
            raise ProgramFailed(
                f"{program.name} cannot be started ({program.command[0]}: {error.strerror}); "
                "`make clean` and another start install it anew"
            ) from None
        finally:
            os.close(write_end)
        running = Running(program, process)
        self.running.append(running)
        self._spawn(self._watch(running, self._spawn(self._show(running, output))))
        return running

    async def _wait(self, running: Running) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(running.process.wait(), running.program.stop_seconds)

    def _spawn(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _show(self, running: Running, output: int) -> None:
        name = running.program.name
        label = f"{name:8}| "
        if os.isatty(self._output.descriptor):
            label = f"\033[{COLOURS.get(name, '0')}m{label}\033[0m"
        async for line in _lines(output):
            running.last_lines.append(line[:LAST_LINE_LENGTH].decode(errors="replace"))
            self._output.write(label.encode() + line + b"\n")

    async def _watch(self, running: Running, showing: asyncio.Task[None]) -> None:
        code = await running.process.wait()
        await asyncio.wait({showing}, timeout=LAST_WORDS_SECONDS)
        if not self.stopping.is_set():
            self._died = running.failed(f"(exit status {code}) ended by itself")
            self.stopping.set()


async def _until_ready(running: Running) -> None:
    async with httpx.AsyncClient(timeout=5, trust_env=False) as client:
        while True:
            with contextlib.suppress(httpx.TransportError):
                response = await client.get(running.program.ready_url)
                if response.status_code == 200:
                    return
                running.heard = response.text
            await asyncio.sleep(0.05)


async def _lines(pipe: int) -> AsyncIterator[bytes]:
    """What comes out of it, until nobody holds its other end any more."""
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
            if len(rest) >= LONGEST_LINE:
                yield rest
                rest = b""
        if rest:
            yield rest


# Looked up here: between fork and exec, with other threads about, is no time for it.
_prctl = ctypes.CDLL(None).prctl if sys.platform == "linux" else None


def _die_with_parent() -> None:
    """Has the kernel end the program when the supervisor is killed, so that even then no orphan is left."""
    if _prctl:
        _prctl(PR_SET_PDEATHSIG, signal.SIGTERM)

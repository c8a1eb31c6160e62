"""Starts programs in order, labels their output with their names, and stops all of them when one ends."""

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

from deploy.native.output_writer import OutputWriter

PR_SET_PDEATHSIG = 1  # linux/prctl.h
COLOURS = {"engine": "33", "gateway": "36", "nginx": "32"}
# A longer line is shown in pieces.
MAX_LINE_BYTES = 1024 * 1024
LAST_LINES = 15
LAST_LINE_BYTES = 500
# How long the output of a program that has ended is waited for: what it started may hold the pipe open.
OUTPUT_SECONDS = 1.0

Result = TypeVar("Result")


class ProgramFailed(Exception):
    """A program could not start, was not ready in time or ended; the message has its last output."""


class Stopped(Exception):
    """Somebody asked for the stack to stop."""


@dataclass(frozen=True)
class Program:
    """`ready_url` answers 200 once the program is ready.

    `stop_seconds` is how long it may take to end after `stop_signal`. A program that is `in_front` waits for
    those behind it to finish, so they are stopped meanwhile.
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
    """`last_answer` is the last one from `ready_url`."""

    program: Program
    process: asyncio.subprocess.Process
    last_lines: deque[str] = field(default_factory=lambda: deque(maxlen=LAST_LINES))
    last_answer: str = "nothing"

    def failed(self, how: str) -> str:
        """The message about it, with its last output."""
        output = "\n".join(f"  {line}" for line in self.last_lines) or "  (nothing)"
        return f"{self.program.name} {how}, so the stack was stopped. Its last output:\n\n{output}"


class Supervisor:
    """Runs programs, each in a process group of its own, until `stop`."""

    def __init__(self, output: OutputWriter) -> None:
        self._output = output
        self._tasks: set[asyncio.Task[None]] = set()
        self._died: str | None = None
        self.running: list[Running] = []
        self.stopping = asyncio.Event()

    async def start(self, program: Program, seconds: float) -> float:
        """Starts `program`, waits until it is ready and returns how many seconds that took.

        Raises ProgramFailed, Stopped.
        """
        started = time.monotonic()
        running = await self._launch(program)
        try:
            async with asyncio.timeout(seconds):
                await self.unless_stopped(_until_ready(running))
        except TimeoutError:
            how = f"was not ready within {seconds:.0f} s (its last answer: {running.last_answer})"
            raise ProgramFailed(running.failed(how)) from None
        return time.monotonic() - started

    async def unless_stopped(self, work: Coroutine[None, None, Result]) -> Result:
        """Returns what `work` returns, unless the stack is stopped first.

        Raises Stopped, or ProgramFailed if a program has ended.
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
            # Processes that the program started and left behind.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(running.process.pid, signal.SIGKILL)
            await running.process.wait()
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=OUTPUT_SECONDS)
            for task in late:
                task.cancel()

    async def _launch(self, program: Program) -> Running:
        # Not asyncio's pipe: with that, a program that has ended would look alive for as long as a child of
        # its holds the other end.
        output, write_end = os.pipe()
        try:
            process = await asyncio.create_subprocess_exec(
                *program.command,
                env={**os.environ, **program.environment},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=write_end,
                stderr=asyncio.subprocess.STDOUT,
                # Ctrl-C in the terminal goes to the supervisor alone, which stops the programs in order.
                start_new_session=True,
                preexec_fn=_die_with_parent,
            )
        except OSError as error:
            os.close(output)
            raise ProgramFailed(
                f"{program.name} cannot be started ({program.command[0]}: {error.strerror}); "
                "run `make clean`, then try again"
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
            running.last_lines.append(line[:LAST_LINE_BYTES].decode(errors="replace"))
            self._output.write(label.encode() + line + b"\n")

    async def _watch(self, running: Running, showing: asyncio.Task[None]) -> None:
        code = await running.process.wait()
        await asyncio.wait({showing}, timeout=OUTPUT_SECONDS)
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
                running.last_answer = response.text
            await asyncio.sleep(0.05)


async def _lines(pipe: int) -> AsyncIterator[bytes]:
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


def _die_with_parent() -> None:
    """Makes the kernel end the program if the supervisor is killed, so that no orphan is left."""
    if _prctl:
        _prctl(PR_SET_PDEATHSIG, signal.SIGTERM)

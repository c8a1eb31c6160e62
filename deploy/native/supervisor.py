"""Brings programs up in order, shows their output with their names, and stops all of them when one ends."""

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
import time
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from typing import TextIO

import httpx

PR_SET_PDEATHSIG = 1  # linux/prctl.h
COLOURS = {"engine": "33", "gateway": "36", "nginx": "32"}


class StartFailed(Exception):
    """A program could not be brought up; the message says which, and what to do."""


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


class Supervisor:
    """Runs programs, each in a process group of its own, until `stop`."""

    def __init__(self, output: TextIO) -> None:
        self._output = output
        self._running: list[tuple[Program, asyncio.subprocess.Process]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self.stopping = asyncio.Event()
        self.died: str | None = None

    async def start(self, program: Program, seconds: float) -> float:
        """Starts `program` and waits until it is ready; returns the seconds that took. Raises StartFailed."""
        started = time.monotonic()
        # A pipe of our own: asyncio's would make a program that has ended look alive for as long as
        # anything that it has started holds the other end.
        output, write_end = os.pipe()
        process = await asyncio.create_subprocess_exec(
            *program.command,
            env={**os.environ, **program.environment},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=write_end,
            stderr=asyncio.subprocess.STDOUT,
            # Ctrl-C in the terminal is for the supervisor, which then stops the programs in order.
            start_new_session=True,
            preexec_fn=_die_with_parent if sys.platform == "linux" else None,
        )
        os.close(write_end)
        self._running.append((program, process))
        self._spawn(self._show(program.name, output))
        self._spawn(self._watch(program.name, process))
        heard = "nothing"
        async with httpx.AsyncClient(timeout=5, trust_env=False) as client:
            while not self.stopping.is_set():
                if time.monotonic() - started > seconds:
                    raise StartFailed(
                        f"{program.name} was not ready within {seconds:.0f} s; it says: {heard}"
                    )
                with contextlib.suppress(httpx.TransportError):
                    response = await client.get(program.ready_url)
                    if response.status_code == 200:
                        return time.monotonic() - started
                    heard = response.text
                await asyncio.sleep(0.05)
        raise StartFailed(f"{self.died or 'the start'} was ended before {program.name} was ready")

    async def stop(self) -> None:
        """Stops the programs in reverse order and returns when nothing of them is left."""
        self.stopping.set()
        for program, process in reversed(self._running):
            if process.returncode is None:
                process.send_signal(program.stop_signal)
                if not program.in_front:
                    await self._wait(process, program.stop_seconds)
        for program, process in self._running:
            if program.in_front:
                await self._wait(process, program.stop_seconds)
            # Whatever the program had started and left behind.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
        await asyncio.gather(*self._tasks)

    async def _wait(self, process: asyncio.subprocess.Process, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), seconds)

    def say(self, text: str) -> None:
        print(text, file=self._output, flush=True)

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _show(self, name: str, output: int) -> None:
        label = f"{name:8}| "
        if self._output.isatty():
            label = f"\033[{COLOURS.get(name, '0')}m{label}\033[0m"
        lines = asyncio.StreamReader()
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(lines), os.fdopen(output, "rb")
        )
        with contextlib.closing(transport):
            rest = b""
            while piece := await lines.read(65536):
                *whole, rest = (rest + piece).split(b"\n")
                for line in whole:
                    self.say(label + line.decode(errors="replace"))

    async def _watch(self, name: str, process: asyncio.subprocess.Process) -> None:
        code = await process.wait()
        if not self.stopping.is_set():
            self.died = f"{name} (exit status {code})"
            self.stopping.set()


def _die_with_parent() -> None:
    """Has the kernel end the program when the supervisor is killed, so that even then no orphan is left."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)

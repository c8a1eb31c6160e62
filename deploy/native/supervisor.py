"""Starts programs in order and labels their output with their names.

When one ends it stops all of them, or starts that one again.
"""

import asyncio
import contextlib
import os
import time
from collections.abc import Coroutine
from typing import NoReturn, TypeVar

from deploy.native.output_writer import OutputWriter
from deploy.native.program import Program, Running, clean_up, die_with_parent, lines, until_ready

COLOURS = {"engine": "33", "gateway": "36", "nginx": "32"}
LAST_LINE_BYTES = 500
# How long the output of a program that has ended is waited for: what it started may hold the pipe open.
OUTPUT_SECONDS = 1.0
# A program that has run for this long is started again at once, one that keeps ending after growing pauses.
STEADY_SECONDS = 10.0
LONGEST_PAUSE = 30.0

Result = TypeVar("Result")


class ProgramFailed(Exception):
    """A program could not start, was not ready in time or ended; the message has its last output."""


class Stopped(Exception):
    """Somebody asked for the stack to stop."""


class Supervisor:
    """Runs programs, each in a process group of its own, until `stop`."""

    def __init__(self, output: OutputWriter) -> None:
        self._output = output
        self._tasks: set[asyncio.Task[None]] = set()
        self._died: str | None = None
        # Held while a program is started again, so that none is missed by `stop`.
        self._restarting = asyncio.Lock()
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
                await self.unless_stopped(until_ready(running))
        except TimeoutError:
            how = f"was not ready within {seconds:.0f} s (its last answer: {running.last_answer})"
            raise ProgramFailed(running.failed(how)) from None
        running.was_ready = True
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
        async with self._restarting:
            pass  # it sees that it is too late
        for running in reversed(self.running):
            if running.process.returncode is None:
                running.process.send_signal(running.program.stop_signal)
                if not running.program.in_front:
                    await self._wait(running)
        for running in self.running:
            if running.program.in_front:
                await self._wait(running)
            await clean_up(running)
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
                preexec_fn=die_with_parent,
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
        if program.pid_file:
            with contextlib.suppress(OSError):  # a full disk
                program.pid_file.write_text(f"{process.pid}\n")
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
            colour = COLOURS.get(name.rstrip("0123456789"), "0")
            label = f"\033[{colour}m{label}\033[0m"
        async for line in lines(output):
            running.last_lines.append(line[:LAST_LINE_BYTES].decode(errors="replace"))
            self._output.write(label.encode() + line + b"\n")

    async def _watch(self, running: Running, showing: asyncio.Task[None]) -> None:
        code = await running.process.wait()
        await asyncio.wait({showing}, timeout=OUTPUT_SECONDS)
        if self.stopping.is_set():
            return
        if running.program.restarts and running.was_ready:
            self._spawn(self._restart(running, code))
        else:
            self._fail(running.failed(f"(exit status {code}) ended by itself"))

    async def _restart(self, ended: Running, code: int) -> None:
        steady = time.monotonic() - ended.started >= STEADY_SECONDS
        pause = 0.0 if steady else min(LONGEST_PAUSE, 2 * ended.pause or 1)
        when = f"in {pause:.0f} s" if pause else "now"
        self._output.say(
            f"{ended.program.name:8}ended by itself (exit status {code}); it is started again {when}"
        )
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.stopping.wait(), pause)
        async with self._restarting:
            if self.stopping.is_set():
                return
            await clean_up(ended)
            self.running.remove(ended)
            try:
                running = await self._launch(ended.program)
            except ProgramFailed as error:
                self._fail(str(error))
                return
            running.was_ready, running.pause = True, pause

    def _fail(self, message: str) -> None:
        self._died = message
        self.stopping.set()

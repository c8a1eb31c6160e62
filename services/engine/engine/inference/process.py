"""The child process that runs llama.cpp: starting it, stopping it, keeping its last output."""

import asyncio
import sys
from collections import deque
from collections.abc import Mapping

import structlog

from ..errors import LoadError

# A process that has not ended after this long hangs, and is killed.
STOP_SECONDS = 5.0

# Lines kept of its stderr, which may explain a crash.
OUTPUT_LINES = 20

log = structlog.get_logger()


class LlamaProcess:
    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.address = ""
        self._process = process
        self._output: deque[str] = deque(maxlen=OUTPUT_LINES)
        # The event loop holds only weak references to tasks.
        self._reader = asyncio.create_task(self._read_stderr())

    @classmethod
    async def start(cls, options: Mapping[str, object]) -> "LlamaProcess":
        """Starts the process and returns when its model is loaded. Raises LoadError if it is not."""
        arguments = [f"--{name}={value}" for name, value in options.items()]
        program = [sys.executable, "-P", "-m", "engine.inference.llama_server", *arguments]
        pipe = asyncio.subprocess.PIPE
        # Its stderr is a pipe as well: on the engine's own stderr, a blocked reader would block llama.cpp.
        child = await asyncio.create_subprocess_exec(*program, stdin=pipe, stdout=pipe, stderr=pipe)
        process = cls(child)
        assert child.stdout is not None
        try:
            process.address = (await child.stdout.readline()).decode().strip()
        except asyncio.CancelledError:
            child.kill()
            await child.wait()
            raise
        if not process.address.startswith("http://"):
            status = await child.wait()
            reason = process.address or f"exit status {status}"
            raise LoadError(f"llama.cpp could not load the model: {reason}")
        return process

    @property
    def last_output(self) -> list[str]:
        return list(self._output)

    @property
    def exit_status(self) -> int | None:
        """None while it runs."""
        return self._process.returncode

    async def wait(self) -> None:
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

    async def _read_stderr(self) -> None:
        assert self._process.stderr is not None
        while data := await self._process.stderr.read(4096):
            for line in data.decode("utf-8", "replace").splitlines():
                # It may quote a client's text, so it is logged only at debug level and after a crash.
                self._output.append(line)
                log.debug("llama_output", line=line)

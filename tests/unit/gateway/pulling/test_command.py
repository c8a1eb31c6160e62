"""`gateway pull` as a process: its exit status, its last line, and signals."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.fakes.ollama import Answer, Do
from tests.processes import BIN
from tests.unit.gateway.pulling.ollama import MANIFEST, UNKNOWN, PullingOllama


@asynccontextmanager
async def command(ollama: PullingOllama, models: str) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        BIN / "gateway",
        "pull",
        env={**os.environ, "GATEWAY_OLLAMA_URL": ollama.url, "GATEWAY_MODELS": models},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_the_command_ends_with_1_and_a_last_line_that_says_what_to_do() -> None:
    async with (
        PullingOllama(answers={"a": [UNKNOWN]}).running() as ollama,
        command(ollama, "a, b") as process,
    ):
        output, _ = await process.communicate()
    assert process.returncode == 1
    last = json.loads(output.splitlines()[-1])
    assert last["models"] == {"a": "pull model manifest: file does not exist"}
    assert last["level"] == "error"


async def test_sigterm_ends_the_command_and_its_pull_at_once() -> None:
    async with PullingOllama(answers={"a": [Answer([MANIFEST, Do.HANG])]}).running() as ollama:
        async with command(ollama, "a") as process:
            assert process.stdout
            assert b"pulling manifest" in await process.stdout.readline()
            process.send_signal(signal.SIGTERM)
            rest = await process.stdout.read()
            assert await process.wait() == 128 + signal.SIGTERM
        await asyncio.wait_for(ollama.abandoned.wait(), 5)
    assert [json.loads(line)["event"] for line in rest.splitlines()] == ["stopped"]

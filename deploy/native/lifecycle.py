"""A stack from start to stop: `run` lasts until it is stopped, `demo` for one question."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NoReturn
from urllib.parse import urlsplit

import httpx

from deploy import ROOT
from deploy.native import stop_signals
from deploy.native.next_steps import find_models, next_steps, without_password
from deploy.native.nginx import configure_nginx, find_nginx
from deploy.native.output_writer import OutputWriter
from deploy.native.programs import programs
from deploy.native.runtime_dir import locked, read_facts, write_facts, writing
from deploy.native.stack import BIN, Stack, check_ports
from deploy.native.supervisor import Supervisor
from deploy.settings.values import BadSetting

START_SECONDS = 60
MESSAGES = OutputWriter(2)


async def run(stack: Stack) -> NoReturn:
    """In the foreground; never returns. Raises Stopped, ProgramFailed, BadSetting."""
    output = OutputWriter(1)
    try:
        with locked(stack):
            async with _up(stack, output) as supervisor:
                models = await supervisor.unless_stopped(find_models(stack))
                MESSAGES.say(f"\nThe stack is up. {next_steps(stack, models)}\nCtrl-C stops it.\n")
                await supervisor.stopped()
    finally:
        output.close()


async def demo(stack: Stack) -> int:
    """Starts the stack, verifies it with one question, stops it. The programs' output goes to a file.

    Returns the exit status. Raises as `run`.
    """
    with locked(stack):
        path = stack.folder / "demo.log"
        with writing(stack.folder):
            log = path.open("wb")
        with log:
            output = OutputWriter(log.fileno())
            try:
                async with _up(stack, output) as supervisor:
                    return await _ask(stack, supervisor)
            finally:
                output.close()
                MESSAGES.say(f"The programs' output is in {path.relative_to(ROOT)}")


async def _ask(stack: Stack, supervisor: Supervisor) -> int:
    models = await supervisor.unless_stopped(find_models(stack))
    if not models.to_ask:
        MESSAGES.say(next_steps(stack, models))
        return 1
    return await supervisor.unless_stopped(_verify(verify_command(stack.url, models.to_ask)))


@asynccontextmanager
async def _up(stack: Stack, output: OutputWriter) -> AsyncIterator[Supervisor]:
    """The whole stack, ready, until the block ends. Raises as `run`."""
    supervisor = Supervisor(output)
    for number in stop_signals.STOP_SIGNALS:
        asyncio.get_running_loop().add_signal_handler(number, supervisor.stopping.set)
    try:
        check_ports(stack)
        await supervisor.unless_stopped(_check_servers(stack))
        nginx, nginx_version = find_nginx()
        with writing(stack.folder):
            configure_nginx(stack)
            write_facts(stack, nginx_version)
        for program in programs(stack, nginx):
            MESSAGES.say(f"{program.name:8}starting")
            seconds = await supervisor.start(program, START_SECONDS)
            MESSAGES.say(f"{program.name:8}ready after {seconds:.1f} s")
        yield supervisor
    finally:
        if supervisor.running:
            MESSAGES.say("stopping")
        await supervisor.stop()
        stop_signals.block()


async def _check_servers(stack: Stack) -> None:
    """One of several may be down: the others answer. Raises BadSetting."""
    if stack.is_embedded:
        return
    variable = "OLLAMA_URL" if stack.ollama_url else "OLLAMA_URLS"
    found = await asyncio.gather(*(_problem(server.url) for server in stack.servers))
    problems = [
        f"{variable}={without_password(server.url)}: no Ollama answers there ({problem}); "
        for server, problem in zip(stack.servers, found, strict=True)
        if problem
    ]
    if len(problems) == len(stack.servers):
        raise BadSetting("\n".join(f"{problem}start it, or correct the address" for problem in problems))
    for problem in problems:
        MESSAGES.say(f"{problem}starting without it")


async def _problem(url: str) -> str:
    """Why no Ollama answers there; empty if one does."""
    try:
        async with httpx.AsyncClient(base_url=url, trust_env=False) as client:
            answer = await client.get("/api/version")
        return "" if answer.is_success else f"status {answer.status_code}"
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return str(error) or type(error).__name__


def verify_command(url: str, model: str | None = None, out: str | None = None) -> list[str]:
    """`gateway verify`, with what is known about a stack that this machine runs at `url`."""
    command = [str(BIN / "gateway"), "verify", "--url", url]
    facts = read_facts(urlsplit(url).port or 80)
    if facts.get("url") == url.replace("localhost", "127.0.0.1").rstrip("/"):
        command += ["--program", f"nginx={facts['nginx']}"]
    if asked := os.environ.get("MODEL") or os.environ.get("GATEWAY_DEFAULT_MODEL") or model:
        command += ["--model", asked]
    return command + (["--out", out] if out else [])


async def _verify(command: list[str]) -> int:
    """Returns its exit status; its output is passed on as it comes."""
    pipe = asyncio.subprocess.PIPE
    # In its own session: Ctrl-C in the terminal must not reach it.
    process = await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=pipe, start_new_session=True)
    record = OutputWriter(1)
    try:
        assert process.stdout is not None
        assert process.stderr is not None
        await asyncio.gather(_pass_on(process.stdout, record), _pass_on(process.stderr, MESSAGES))
        return await process.wait()
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()
        record.close()


async def _pass_on(stream: asyncio.StreamReader, output: OutputWriter) -> None:
    while piece := await stream.read(65536):
        output.write(piece)

"""A stack from its start to its end: `run`, until it is stopped, and `demo`, for one question."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NoReturn
from urllib.parse import urlsplit

import httpx
import stopping
from output import Output
from run_folder import claimed, read_facts, write_facts, writing
from stack import BIN, ROOT, BadSetting, Stack, check_ports, configure_nginx, find_nginx, programs
from suggestion import find_models, tell, without_secret
from supervisor import Supervisor

START_SECONDS = 60
PEOPLE = Output(2)


async def run(stack: Stack) -> NoReturn:
    """In the foreground; never returns. Raises Stopped, ProgramFailed, BadSetting."""
    output = Output(1)
    try:
        with claimed(stack):
            async with _up(stack, output) as supervisor:
                models = await supervisor.unless_stopped(find_models(stack))
                PEOPLE.say(f"\nThe stack is up. {tell(stack, models)}\nCtrl-C stops it.\n")
                await supervisor.stopped()
    finally:
        output.close()


async def demo(stack: Stack) -> int:
    """Up, one question with its verification record, down. The programs' output goes to a file.

    Returns the exit status. Raises as `run`.
    """
    with claimed(stack):
        path = stack.folder / "demo.log"
        with writing(stack.folder):
            log = path.open("wb")
        with log:
            output = Output(log.fileno())
            try:
                async with _up(stack, output) as supervisor:
                    return await _ask(stack, supervisor)
            finally:
                output.close()
                PEOPLE.say(f"what the programs wrote is in {path.relative_to(ROOT)}")


async def _ask(stack: Stack, supervisor: Supervisor) -> int:
    models = await supervisor.unless_stopped(find_models(stack))
    if not models.to_ask:
        PEOPLE.say(tell(stack, models))
        return 1
    return await supervisor.unless_stopped(_verify(verify_command(stack.url, models.to_ask)))


@asynccontextmanager
async def _up(stack: Stack, output: Output) -> AsyncIterator[Supervisor]:
    """Everything that is in the stack, once it is alive. Raises as `run`."""
    supervisor = Supervisor(output)
    for number in stopping.SIGNALS:
        asyncio.get_running_loop().add_signal_handler(number, supervisor.stopping.set)
    try:
        check_ports(stack)
        await supervisor.unless_stopped(_check_ollama(stack))
        nginx, nginx_version = find_nginx()
        with writing(stack.folder):
            configure_nginx(stack)
            write_facts(stack, nginx_version)
        for program in programs(stack, nginx):
            PEOPLE.say(f"{program.name:8}starting")
            PEOPLE.say(f"{program.name:8}ready after {await supervisor.start(program, START_SECONDS):.1f} s")
        yield supervisor
    finally:
        if supervisor.running:
            PEOPLE.say("stopping")
        await supervisor.stop()
        stopping.ignore()


async def _check_ollama(stack: Stack) -> None:
    if not stack.ollama_url:
        return
    try:
        async with httpx.AsyncClient(base_url=stack.ollama_url, trust_env=False) as client:
            answer = await client.get("/api/version")
        why_not = "" if answer.is_success else f"status {answer.status_code}"
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        why_not = str(error) or type(error).__name__
    if why_not:
        shown = without_secret(stack.ollama_url)
        raise BadSetting(
            f"OLLAMA_URL={shown}: no Ollama answers there ({why_not}); start it, or correct the address"
        )


def verify_command(url: str, model: str | None = None, out: str | None = None) -> list[str]:
    """`gateway verify`, with what is known of a stack that this machine runs at `url`."""
    command = [str(BIN / "gateway"), "verify", "--url", url]
    facts = read_facts(urlsplit(url).port or 80)
    if facts.get("url") == url.replace("localhost", "127.0.0.1").rstrip("/"):
        command += ["--program", f"nginx={facts['nginx']}"]
    if asked := os.environ.get("MODEL") or os.environ.get("GATEWAY_DEFAULT_MODEL") or model:
        command += ["--model", asked]
    return command + (["--out", out] if out else [])


async def _verify(command: list[str]) -> int:
    """Its exit status; what it writes is handed on as it comes."""
    pipe = asyncio.subprocess.PIPE
    # In a session of its own, as Ctrl-C in the terminal is not for it.
    process = await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=pipe, start_new_session=True)
    record = Output(1)
    try:
        assert process.stdout is not None
        assert process.stderr is not None
        await asyncio.gather(_hand_on(process.stdout, record), _hand_on(process.stderr, PEOPLE))
        return await process.wait()
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()
        record.close()


async def _hand_on(stream: asyncio.StreamReader, output: Output) -> None:
    while piece := await stream.read(65536):
        output.write(piece)

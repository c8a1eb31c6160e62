"""`make run`, `make demo` and `make verify`: the stack without Docker."""

import argparse
import asyncio
import json
import os
import signal
import subprocess
import sys
from urllib.parse import urlsplit

import httpx
from dotenv import load_dotenv
from stack import (
    BIN,
    ROOT,
    BadSetting,
    Stack,
    check_ports,
    configure_nginx,
    find_nginx,
    keys_file,
    needs_key,
    programs,
    read_stack,
    run_folder,
)
from supervisor import StartFailed, Supervisor

START_SECONDS = 60
FACTS = "stack.json"


async def run(stack: Stack) -> int:
    """In the foreground, until Ctrl-C or until one of the programs ends."""
    supervisor = Supervisor(sys.stdout)
    try:
        await _bring_up(stack, supervisor)
        request = {
            "model": await _a_model(stack),
            "messages": [{"role": "user", "content": "Why is the sky blue?"}],
        }
        credential = "-H 'Authorization: Bearer YOUR-KEY' " if needs_key() else ""
        curl = f"curl -N {credential}{stack.url}/chat -d '{json.dumps(request)}'"
        _say(f"\nThe stack is up. Ask it something:\n\n  {curl}\n")
        _say("Ctrl-C stops it.\n")
        await supervisor.stopping.wait()
    finally:
        _say("stopping")
        await supervisor.stop()
        (stack.folder / FACTS).unlink(missing_ok=True)
    if supervisor.died:
        _say(f"{supervisor.died} ended by itself, so the others were stopped")
    return 1 if supervisor.died else 0


async def demo(stack: Stack) -> int:
    """Up, one question with its verification record, down. The programs' output goes to a file."""
    stack.folder.mkdir(parents=True, exist_ok=True)
    log = stack.folder / "demo.log"
    with log.open("w") as output:
        supervisor = Supervisor(output)
        try:
            await _bring_up(stack, supervisor)
            checks = await asyncio.create_subprocess_exec(*_verify_command(stack.url))
            await asyncio.wait(
                {asyncio.create_task(checks.wait()), asyncio.create_task(supervisor.stopping.wait())},
                return_when=asyncio.FIRST_COMPLETED,
            )
            if checks.returncode is None:
                checks.terminate()
            return await checks.wait()
        except StartFailed:
            _say("".join(log.read_text().splitlines(keepends=True)[-30:]))
            raise
        finally:
            await supervisor.stop()
            (stack.folder / FACTS).unlink(missing_ok=True)
            _say(f"stopped; what the programs wrote is in {log.relative_to(ROOT)}")


def verify(url: str, out: str | None) -> int:
    return subprocess.run(_verify_command(url, out), check=False).returncode


async def _bring_up(stack: Stack, supervisor: Supervisor) -> None:
    check_ports(stack)
    if stack.ollama_url:
        await _check_ollama(stack.ollama_url)
    nginx, nginx_version = find_nginx()
    configure_nginx(stack)
    for stop in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(stop, supervisor.stopping.set)
    for program in programs(stack, nginx):
        _say(f"{program.name:8}starting")
        _say(f"{program.name:8}ready after {await supervisor.start(program, START_SECONDS):.1f} s")
    # For `make verify`, which cannot learn these through the public port.
    facts = {"url": stack.url, "nginx": nginx_version}
    (stack.folder / FACTS).write_text(json.dumps(facts))


async def _check_ollama(url: str) -> None:
    try:
        async with httpx.AsyncClient(base_url=url, trust_env=False) as client:
            (await client.get("/api/version")).raise_for_status()
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise BadSetting(f"OLLAMA_URL={url}: no Ollama answers there ({error})") from None


async def _a_model(stack: Stack) -> str:
    """One that can be asked, for the example."""
    try:
        async with httpx.AsyncClient(base_url=stack.upstream_url, trust_env=False) as client:
            return str((await client.get("/api/tags")).json()["models"][0]["name"])
    except (httpx.HTTPError, LookupError):
        return "MODEL"


def _verify_command(url: str, out: str | None = None) -> list[str]:
    """`gateway verify`, with what is known of a stack that this machine runs at `url`."""
    command = [str(BIN / "gateway"), "verify", "--url", url]
    facts = run_folder(urlsplit(url).port or 80) / FACTS
    known = json.loads(facts.read_text()) if facts.exists() else {}
    if known.get("url") == url.replace("localhost", "127.0.0.1").rstrip("/"):
        command += ["--program", f"nginx={known['nginx']}"]
    if model := os.environ.get("MODEL") or os.environ.get("GATEWAY_DEFAULT_MODEL"):
        command += ["--model", model]
    return command + (["--out", out] if out else [])


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("run", help="start the stack in the foreground")
    commands.add_parser("demo", help="start it, ask one question, verify, stop")
    verify_parser = commands.add_parser("verify", help="check a running stack")
    verify_parser.add_argument("--url", help="where clients reach it (default: as BIND and PORT say)")
    verify_parser.add_argument("--out", help="also write the record as JSON to this file")
    keys_parser = commands.add_parser("keys", help="as `gateway keys`, for the keys of this stack")
    keys_parser.add_argument("rest", nargs=argparse.REMAINDER)
    arguments = parser.parse_args()

    load_dotenv(ROOT / ".env")  # the environment's own variables win
    try:
        if arguments.command == "keys":
            command = [str(BIN / "gateway"), "keys", *arguments.rest]
            return subprocess.run(
                command, env={**os.environ, "GATEWAY_KEYS_FILE": keys_file()}, check=False
            ).returncode
        if arguments.command == "verify":
            return verify(arguments.url or read_stack().url, arguments.out)
        return asyncio.run((run if arguments.command == "run" else demo)(read_stack()))
    except (BadSetting, StartFailed) as error:
        _say(str(error))
        return 1


if __name__ == "__main__":
    sys.exit(main())

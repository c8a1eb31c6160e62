"""The commands that the Makefile has for the stack without Docker."""

import argparse
import asyncio
import os
import resource
from collections.abc import Mapping
from typing import NoReturn

from deploy import ROOT
from deploy.native.lifecycle import MESSAGES, demo, run, verify_command
from deploy.native.output_writer import replace_closed_streams
from deploy.native.stack import BIN, keys_file, read_stack
from deploy.native.supervisor import ProgramFailed, Stopped
from deploy.settings import dotenv
from deploy.settings.values import BadSetting

# What nginx asks for; a few hundred streams use up the usual 1024.
OPEN_FILES = 16384


def main(stopped: int) -> int:
    """Returns the exit status; `stopped` is the one after a stop that was asked for."""
    replace_closed_streams()
    arguments = _parse()
    try:
        for name, value in dotenv.read(ROOT / ".env", os.environ).items():
            os.environ.setdefault(name, value)
        if arguments.command == "keys":
            _become([str(BIN / "gateway"), "keys", *arguments.rest], {"GATEWAY_KEYS_FILE": keys_file()})
        if arguments.command == "verify":
            _become(verify_command(arguments.url or read_stack().url, out=arguments.out))
        _raise_open_files_limit()
        stack = read_stack()
        return asyncio.run(run(stack) if arguments.command == "run" else demo(stack))
    except (BadSetting, ProgramFailed) as error:
        MESSAGES.say(str(error))
        return 1
    except Stopped:
        return stopped
    finally:
        MESSAGES.close()


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m deploy.native", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("run", help="start the stack in the foreground")
    commands.add_parser("demo", help="start the stack, ask one question, verify, stop")
    verify = commands.add_parser("verify", help="check a running stack")
    verify.add_argument("--url", help="where clients reach it (default: from BIND and PORT)")
    verify.add_argument("--out", help="also write the record to this file, as JSON")
    keys = commands.add_parser("keys", help="run `gateway keys` on this stack's keys")
    keys.add_argument("rest", nargs=argparse.REMAINDER)
    return parser.parse_args()


def _become(command: list[str], environment: Mapping[str, str] | None = None) -> NoReturn:
    """Replaces this process. Raises BadSetting."""
    try:
        os.execve(command[0], command, {**os.environ, **(environment or {})})  # noqa: S606 - that is the point
    except OSError as error:
        raise BadSetting(
            f"{command[0]} cannot be started ({error.strerror}); run `make clean`, then try again"
        ) from None


def _raise_open_files_limit() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, OPEN_FILES)), hard))

"""The commands that the Makefile has for the stack without Docker."""

import argparse
import asyncio
import io
import os
import resource
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

from dotenv import load_dotenv
from lifecycle import PEOPLE, demo, run, verify_command
from output import open_standard_streams
from stack import BIN, ROOT, BadSetting, keys_file, read_stack
from supervisor import ProgramFailed, Stopped

# What nginx asks for itself; the usual 1024 is used up by a few hundred streams.
DESCRIPTORS = 16384


def main(stopped: int) -> int:
    """Returns the exit status; `stopped` is the one after a stop that was asked for."""
    open_standard_streams()
    arguments = _parse()
    try:
        read_dotenv(ROOT / ".env")
        if arguments.command == "keys":
            _become([str(BIN / "gateway"), "keys", *arguments.rest], {"GATEWAY_KEYS_FILE": keys_file()})
        if arguments.command == "verify":
            _become(verify_command(arguments.url or read_stack().url, out=arguments.out))
        _raise_descriptor_limit()
        stack = read_stack()
        return asyncio.run(run(stack) if arguments.command == "run" else demo(stack))
    except (BadSetting, ProgramFailed) as error:
        PEOPLE.say(str(error))
        return 1
    except Stopped:
        return stopped
    finally:
        PEOPLE.close()


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("run", help="start the stack in the foreground")
    commands.add_parser("demo", help="start it, ask one question, verify, stop")
    verify = commands.add_parser("verify", help="check a running stack")
    verify.add_argument("--url", help="where clients reach it (default: as BIND and PORT say)")
    verify.add_argument("--out", help="also write the record as JSON to this file")
    keys = commands.add_parser("keys", help="as `gateway keys`, for the keys of this stack")
    keys.add_argument("rest", nargs=argparse.REMAINDER)
    return parser.parse_args()


def read_dotenv(path: Path) -> None:
    """Into the environment, whose own variables win. Raises BadSetting."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        return
    except OSError as error:
        raise BadSetting(
            f"{path.name} cannot be read ({error.strerror}); it must be a file that this user may read"
        ) from None
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise BadSetting(f"{path.name} is not UTF-8, perhaps UTF-16; save it as UTF-8")
    load_dotenv(stream=io.StringIO(text))


def _become(command: list[str], environment: Mapping[str, str] | None = None) -> NoReturn:
    """With nothing of this process left in between. Raises BadSetting."""
    try:
        os.execve(command[0], command, {**os.environ, **(environment or {})})  # noqa: S606 - that is the point
    except OSError as error:
        raise BadSetting(
            f"{command[0]} cannot be started ({error.strerror}); run `make clean` and again"
        ) from None


def _raise_descriptor_limit() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, DESCRIPTORS)), hard))

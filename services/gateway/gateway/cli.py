"""The `gateway` command."""

import argparse
import os
import sys
from pathlib import Path
from typing import NoReturn

from .commands import keys as access
from .settings import BadSettings, Settings, load_settings

INTERRUPTED = 130  # what shells make of SIGINT
GUNICORN_CONFIG = Path(__file__).resolve().parents[1] / "gunicorn.conf.py"


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="gateway", description="Streams Ollama's answers to clients as Server-Sent Events."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    serve = commands.add_parser(
        "serve", help="run the gateway under gunicorn; settings are GATEWAY_* variables"
    )
    serve.set_defaults(run=_serve)
    pull = commands.add_parser(
        "pull",
        help="have the model servers pull the missing models of GATEWAY_MODELS, and exit when all have them",
    )
    pull.set_defaults(run=_pull)
    keys = commands.add_parser("keys", help="create, change, list, revoke and rotate API keys")
    access.add_arguments(keys)
    keys.set_defaults(run=lambda arguments: access.run(arguments, _settings()))
    check = commands.add_parser(
        "verify", help="ask one question through a running stack and check the answer"
    )
    check.add_argument(
        "--url", default="http://127.0.0.1:8000", help="URL of the stack (default: %(default)s)"
    )
    check.add_argument(
        "--cacert",
        metavar="FILE",
        help="CA certificate to trust, for https with a private CA",
    )
    check.add_argument("--model", help="the model to ask (default: the first that can chat)")
    check.add_argument("--out", help="also write the record as JSON to this file")
    check.add_argument(
        "--program",
        action="append",
        default=[],
        metavar="NAME=VERSION",
        help="name a program and its version in the record",
    )
    check.set_defaults(run=_verify)
    arguments = parser.parse_args()
    sys.exit(_status(arguments))


def _status(arguments: argparse.Namespace) -> int | str:
    """The command's exit status, or the message to exit with if a file or the output is not writable."""
    try:
        status: int = arguments.run(arguments)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return INTERRUPTED
    except OSError as error:
        if error.filename:
            return f"gateway: {error.filename}: {error.strerror}"
        # Standard output. Without this the interpreter would fail again when it flushes it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return f"gateway: {error.strerror}"
    return status


def _serve(_: argparse.Namespace) -> NoReturn:
    from .access.keyring import startup_problem  # imports the logging libraries
    from .telemetry import audit
    from .telemetry.logs import configure_structlog

    settings = _settings()
    configure_structlog(settings)
    if problem := startup_problem(settings) or audit.unusable(settings):
        sys.exit(f"gateway: {problem}")
    # The process becomes gunicorn, so that it gets signals directly.
    command = [sys.executable, "-m", "gunicorn", "--config", str(GUNICORN_CONFIG)]
    os.execv(sys.executable, command)  # noqa: S606 - on purpose


# Imported only when run: these two need the HTTP client, which is slow to import.
def _pull(_: argparse.Namespace) -> int:
    from .commands.pull import command

    return command.run(_settings())


def _verify(arguments: argparse.Namespace) -> int:
    from .commands.verify import verify

    return verify.run(arguments)


def _settings() -> Settings:
    try:
        return load_settings()
    except BadSettings as error:
        sys.exit(f"gateway: {error}")

"""The commands `engine serve` and `engine models`."""

import argparse
import ctypes
import os
import signal
import socket
import sys
from importlib import metadata

import uvicorn

from .models.catalogue import Catalogue
from .server.app import create_app
from .server.descriptors import raise_limit
from .server.http_protocol import Http
from .settings import Settings, SettingsError, load_settings
from .telemetry.logs import configure_logging

# Running answers get this long on shutdown. Shorter than the grace period of service managers and Compose, so
# that the engine is never killed first.
GRACE_SECONDS = 5

# Longer than clients keep idle connections (the gateway: 30 s), so that none uses one that is being closed.
KEEP_ALIVE_SECONDS = 75


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="engine",
        description="Ollama's API over llama.cpp, with a small model built in. "
        "Settings are ENGINE_* environment variables.",
    )
    parser.add_argument("--version", action="version", version=metadata.version("sluice-engine"))
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    commands.add_parser("serve", help="serve the API until it is stopped").set_defaults(run=serve)
    commands.add_parser("models", help="list the models that can be served").set_defaults(run=models)
    arguments = parser.parse_args()
    try:
        settings = load_settings()
        log = configure_logging(settings)
        try:
            arguments.run(settings)
        finally:
            log.flush()
    except SettingsError as error:
        sys.exit(f"engine: {error}")


def serve(settings: Settings) -> None:
    _check_system()
    raise_limit(settings)
    config = uvicorn.Config(
        create_app(settings),
        loop="uvloop",
        http=Http,
        ws="none",
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
    )
    # uvicorn shuts down gracefully on these signals, then raises them again.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: sys.exit(0))
    with listening(settings) as listener:
        uvicorn.Server(config).run(sockets=[listener])


def _check_system() -> None:
    # llama.cpp's package does not include it, and without it no model can be loaded.
    if sys.platform == "linux":
        try:
            ctypes.CDLL("libgomp.so.1")
        except OSError:
            raise SettingsError(
                "llama.cpp needs libgomp.so.1, which is not installed; "
                "on Debian and Ubuntu: apt install libgomp1"
            ) from None


def listening(settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        return socket.create_server((settings.host, settings.port), family=family, backlog=2048)
    except OSError as error:
        # Some of Python's own messages repeat the address.
        reason = os.strerror(error.errno) if error.errno else str(error)
        address = f"ENGINE_HOST={settings.host} ENGINE_PORT={settings.port}"
        raise SettingsError(f"{address}: can't listen there: {reason}") from error


def models(settings: Settings) -> None:
    for model in Catalogue(settings.models_dir).scan():
        size = f"{model.size / 10**6:.0f} MB"
        print(f"{model.name.short:40}{model.parameter_size:>10}{model.header.file_type:>10}{size:>10}")

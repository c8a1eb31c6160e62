"""The programs of the native stack, with their settings, in the order of their start."""

import os
import signal
from collections.abc import Mapping
from dataclasses import replace
from urllib.parse import urlsplit

from deploy.native.nginx import nginx_command
from deploy.native.program import Program
from deploy.native.stack import BIN, Stack, default_model, keys_file
from deploy.settings.values import BadSetting
from engine.settings import Settings as EngineSettings

GRACE_SECONDS = 5.0  # less than in containers: Ctrl-C should not take half a minute


def programs(stack: Stack, nginx: str) -> list[Program]:
    """`nginx` is the path of the program. Raises BadSetting."""
    return [*_engines(stack), _gateway(stack), _nginx(stack, nginx)]


def _engines(stack: Stack) -> list[Program]:
    if not stack.is_embedded:
        return []
    if stack.engines == 1:
        return [_engine(stack, stack.servers[0].url, "engine", {})]
    threads = os.environ.get("ENGINE_THREADS") or str(_threads_each(stack.engines))
    return [
        replace(
            _engine(stack, server.url, server.name, {"ENGINE_THREADS": threads}),
            # The others answer meanwhile.
            restarts=True,
        )
        for server in stack.servers
    ]


def _threads_each(engines: int) -> int:
    """llama.cpp's threads wait busily for each other, so engines share no core if that can be avoided."""
    default: int = EngineSettings.model_fields["threads"].get_default(call_default_factory=True)
    return max(1, default // engines)


def _engine(stack: Stack, url: str, name: str, more: Mapping[str, str]) -> Program:
    environment = {
        "PYTHONUNBUFFERED": "1",
        "ENGINE_HOST": "127.0.0.1",
        "ENGINE_PORT": str(urlsplit(url).port),
        "ENGINE_LOG_FORMAT": os.environ.get("ENGINE_LOG_FORMAT") or "console",
        **more,
    }
    return Program(
        name,
        [str(BIN / "engine"), "serve"],
        environment,
        f"{url}/api/version",
        stop_seconds=15,
        pid_file=stack.folder / f"{name}.pid",
    )


def _gateway(stack: Stack) -> Program:
    grace = _seconds("GATEWAY_GRACE", GRACE_SECONDS)
    environment = {
        "PYTHONUNBUFFERED": "1",
        "GATEWAY_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(stack.gateway_port),
        "GATEWAY_OLLAMA_URL": stack.servers[0].url,
        "GATEWAY_OLLAMA_URLS": stack.ollama_urls or _several(stack),
        "GATEWAY_PUBLIC_ADDRESS": stack.bind,
        "GATEWAY_KEYS_FILE": keys_file(),
        "GATEWAY_LOG_FORMAT": os.environ.get("GATEWAY_LOG_FORMAT") or "console",
        "GATEWAY_DEFAULT_MODEL": default_model(stack),
        "GATEWAY_GRACE": str(grace),
    }
    ready_url = f"http://127.0.0.1:{stack.gateway_port}/healthz"
    return Program("gateway", [str(BIN / "gateway"), "serve"], environment, ready_url, grace + 10)


def _several(stack: Stack) -> str:
    """The engines as GATEWAY_OLLAMA_URLS; empty if there is one, for which GATEWAY_OLLAMA_URL is enough."""
    if len(stack.servers) == 1:
        return ""
    return ", ".join(f"{server.url} name={server.name}" for server in stack.servers)


def _nginx(stack: Stack, nginx: str) -> Program:
    return Program(
        "nginx",
        nginx_command(nginx, stack.folder / "nginx"),
        {},
        f"{stack.url}/healthz",
        stop_seconds=5,
        stop_signal=signal.SIGQUIT,  # it lets running answers finish
        in_front=True,
    )


def _seconds(variable: str, default: float) -> float:
    value = os.environ.get(variable) or str(default)
    try:
        return float(value)
    except ValueError:
        raise BadSetting(f"{variable} must be a number of seconds, not {value!r}") from None

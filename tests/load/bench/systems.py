"""The measured systems, as running processes."""

import json
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path

from deploy.native.nginx import find_nginx, nginx_command, render_nginx
from tests.processes import BIN, ROOT, Process, free_port, listens, wait_until

from .cores import BenchError, Cores, pinned
from .wire import DIALECTS, KEY, MODELS, OPENAI, PACE_SECONDS, Dialect

PEERS = ROOT / ".venv-peers"
DIRECT, NGINX, GATEWAY, BOTH, LITELLM = "upstream", "nginx", "gateway", "nginx+gateway", "LiteLLM"
# LiteLLM saturates a core with about sixty streams at 20 tokens/s.
STREAMS, LITELLM_STREAMS = 100, 30
NAMES = (NGINX, GATEWAY, BOTH, LITELLM)


@dataclass(frozen=True)
class System:
    """`roots` are the processes, with their descendants, whose CPU and memory count.

    `streams` is how many of them the CPU and the delay of a token are measured with, and `ramp` how many
    seconds they take to begin.
    """

    name: str
    port: int
    roots: tuple[int, ...]
    dialects: tuple[Dialect, ...] = DIALECTS
    version: str = ""
    streams: int = STREAMS
    ramp: float = 0.5


@dataclass(frozen=True)
class Upstream:
    port: int
    process: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def direct(self) -> System:
        return System(DIRECT, self.port, ())

    def settle(self) -> None:
        """Waits until no request is running. Raises BenchError."""

        def unused() -> bool:
            with urllib.request.urlopen(f"{self.url}/running", timeout=10) as answer:
                return not json.load(answer)["running"]

        try:
            wait_until(unused, 30, "every stream of upstream is left")
        except AssertionError as error:
            raise BenchError(str(error)) from None


@contextmanager
def upstream(cores: Cores, folder: Path, pace: float = PACE_SECONDS) -> Iterator[Upstream]:
    """With a token every `pace` seconds."""
    port = free_port()
    command = [sys.executable, "-m", "tests.load.bench.upstream", str(port), str(pace)]
    with pinned(cores.upstream), _running(command, folder / "upstream.log", port) as process:
        yield Upstream(port, process)


@contextmanager
def systems(wanted: tuple[str, ...], model: Upstream, cores: Cores, folder: Path) -> Iterator[list[System]]:
    """The wanted systems that are installed, running on the proxies' core."""
    with ExitStack() as started, pinned(cores.proxy):
        found: list[System] = []
        if NGINX in wanted:
            found.append(started.enter_context(_nginx(NGINX, model.port, folder / "nginx")))
        if GATEWAY in wanted or BOTH in wanted:
            gateway = started.enter_context(_gateway(model, folder))
            edge = started.enter_context(_nginx(BOTH, gateway.port, folder / "edge"))
            found += [gateway, replace(edge, roots=edge.roots + gateway.roots, version="")]
        if LITELLM in wanted:
            found.append(started.enter_context(_litellm(model, folder)))
        yield [system for system in found if system.name in wanted]


def has_peers() -> bool:
    return (PEERS / "bin" / "litellm").exists()


@contextmanager
def _nginx(name: str, target: int, folder: Path) -> Iterator[System]:
    """The shipped configuration, with one worker for its one core."""
    port = free_port()
    program, version = find_nginx()
    values = {
        "NGINX_LISTEN": f"127.0.0.1:{port}",
        "NGINX_GATEWAY": f"127.0.0.1:{target}",
        "NGINX_RESOLVER": "127.0.0.1",
        "NGINX_TLS": "off",
    }
    render_nginx(folder, values)
    configuration = folder / "nginx.conf"
    text, changed = re.subn(r"worker_processes \w+;", "worker_processes 1;", configuration.read_text())
    assert changed == 1
    configuration.write_text(text)
    log = folder.with_suffix(".log")
    with _running(nginx_command(program, folder), log, port) as process:
        yield System(name, port, (process,), version=version)


@contextmanager
def _gateway(model: Upstream, folder: Path) -> Iterator[System]:
    port = free_port()
    settings = {"GATEWAY_PORT": str(port), "GATEWAY_OLLAMA_URL": model.url, "GATEWAY_WORKERS": "1"}
    settings["GATEWAY_SLOTS"] = "10000"  # the model of the benchmarks answers everything at once
    with _running([str(BIN / "gateway"), "serve"], folder / "gateway.log", port, settings) as process:
        yield System(GATEWAY, port, (process,), version=metadata.version("sluice-gateway"))


@contextmanager
def _litellm(model: Upstream, folder: Path) -> Iterator[System]:
    port = free_port()
    configuration = folder / "litellm.yaml"
    parameters = {"api_base": f"{model.url}/v1", "api_key": "none"}
    # Models by name, because matching wildcards would cost time. JSON is valid YAML.
    models = [
        {"model_name": name, "litellm_params": {**parameters, "model": f"openai/{name}"}} for name in MODELS
    ]
    configuration.write_text(json.dumps({"model_list": models}))
    command = [str(PEERS / "bin" / "litellm"), "--config", str(configuration), "--host", "127.0.0.1"]
    # Without downloads from the network; otherwise its defaults, in production mode.
    settings = {"LITELLM_MODE": "PRODUCTION", "LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR"}
    settings["LITELLM_MASTER_KEY"] = KEY
    command += ["--port", str(port), "--num_workers", "1", "--telemetry", "False"]
    version = subprocess.run(
        [PEERS / "bin" / "python", "-c", "from importlib import metadata as m; print(m.version('litellm'))"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    with _running(command, folder / "litellm.log", port, settings) as process:
        yield System(LITELLM, port, (process,), (OPENAI,), version, LITELLM_STREAMS, ramp=2.0)


@contextmanager
def _running(
    command: list[str], log: Path, port: int, environment: Mapping[str, str] | None = None
) -> Iterator[int]:
    """The process, once it is listening. Raises BenchError."""
    process = Process(command, environment or {}, log)

    def listening() -> bool:
        if process.popen.poll() is not None:
            raise AssertionError(f"it ended with {process.popen.returncode}")
        return listens(port)

    try:
        wait_until(listening, 90, f"it listens on port {port}")
        yield process.popen.pid
    except AssertionError as error:
        raise BenchError(f"{Path(command[0]).name}: {error}; it wrote:\n{process.output[-2000:]}") from None
    finally:
        process.stop()

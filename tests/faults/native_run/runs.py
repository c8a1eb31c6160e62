"""`make run` with a fake Ollama, in a process."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.fakes.ollama import FakeOllama
from tests.integration.stacks import ports
from tests.processes import ROOT, Process, listens, wait_until

RUN = [sys.executable, "-m", "deploy.native", "run"]
UP = "The stack is up"


def settings(fake: FakeOllama, **more: str) -> dict[str, str]:
    return {**ports(), "OLLAMA_URL": fake.url, "GATEWAY_GRACE": "3", **more}


def url(environment: Mapping[str, str]) -> str:
    return f"http://127.0.0.1:{environment['PORT']}"


def nobody_listens(environment: Mapping[str, str]) -> bool:
    return not any(listens(int(environment[name])) for name in ("PORT", "GATEWAY_PORT", "ENGINE_PORT"))


@contextmanager
def running(environment: Mapping[str, str], log: Path) -> Iterator[Process]:
    """A stack that has reported that it is up."""
    process = Process(RUN, environment, log)
    try:
        wait_until(lambda: UP in process.output or process.popen.poll() is not None, 60, "it is up")
        assert UP in process.output, process.output
        yield process
    finally:
        process.stop()


def facts(environment: Mapping[str, str]) -> Path:
    return ROOT / ".run" / environment["PORT"] / "stack.json"

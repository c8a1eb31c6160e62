"""The native stack as processes: a real model behind the gateway behind nginx."""

import json
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.processes import Process, free_port, listens, wait_until

RUN = [sys.executable, "-m", "deploy.native"]
MODEL = "smollm2:135m"


@dataclass
class Running:
    process: Process
    ports: dict[str, str]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.ports['PORT']}"

    @property
    def gateway_url(self) -> str:
        return f"http://127.0.0.1:{self.ports['GATEWAY_PORT']}"

    def busy_slots(self) -> float:
        """The number of busy slots, as llama.cpp reports it."""
        return self.metric("engine_slots_busy")

    def metric(self, name: str) -> float:
        """The value of one of the engine's gauges."""
        text = httpx.get(f"http://127.0.0.1:{self.ports['ENGINE_PORT']}/metrics", timeout=30).text
        match = re.search(rf"^{name} (\S+)", text, re.MULTILINE)
        assert match
        return float(match[1])

    def log_lines(self, program: str) -> list[dict[str, Any]]:
        """The JSON log lines of `program`."""
        label = re.compile(rf"^{program} *\| (\{{.*)$", re.MULTILINE)
        return [json.loads(text) for text in label.findall(self.process.output)]


def ports() -> dict[str, str]:
    return {variable: str(free_port()) for variable in ("PORT", "GATEWAY_PORT", "ENGINE_PORT")}


def question(text: str = "Why is the sky blue?", **options: Any) -> dict[str, Any]:
    return {"model": MODEL, "messages": [{"role": "user", "content": text}], "options": options}


@contextmanager
def started(folder: Path, **environment: str) -> Iterator[Running]:
    chosen = ports()
    logs = {"GATEWAY_LOG_FORMAT": "json", "ENGINE_LOG_FORMAT": "json"}
    process = Process([*RUN, "run"], {**chosen, **logs, **environment}, folder / "stack.log")
    running = Running(process, chosen)
    try:
        process.wait_ready(f"{running.url}/readyz")
        # The stack answers slightly before the supervisor registers it as running.
        wait_until(lambda: "The stack is up" in process.output, 30, "the supervisor says so")
        yield running
    finally:
        process.stop()


def nobody_listens(running: Running) -> bool:
    return not any(listens(int(port)) for port in running.ports.values())


def wait_until_free(stack: Running) -> None:
    """Fails unless the model stops working: within a second or, on a busy machine, a few. The answers that
    tests leave would take far longer.
    """
    wait_until(lambda: stack.busy_slots() == 0, 5, "the slot is free")

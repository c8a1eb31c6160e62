"""Facts about the stack: versions, machine, model, and where the model runs."""

import importlib.metadata
import os
import platform
import re
import sys
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx


def package_versions() -> dict[str, str]:
    """Versions of the installed gateway and of its dependencies."""
    service = "sluice-gateway"
    versions = {service: importlib.metadata.version(service)}
    for requirement in importlib.metadata.requires(service) or []:
        name = re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0]
        versions[name] = importlib.metadata.version(name)
    return versions


def machine() -> dict[str, Any]:
    return {
        "python": platform.python_version(),
        "os": _os_name(),
        "kernel": platform.release(),
        "architecture": platform.machine(),
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
    }


def _os_name() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except OSError:
        return platform.platform()


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), "unknown")


class ModelServer:
    """Ollama or the embedded engine, reached through `client`. Unknown facts are None."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client

    @cached_property
    def _about(self) -> dict[str, Any]:
        return self._get("/api/version")

    @property
    def _engine(self) -> dict[str, Any]:
        """The embedded engine's description of itself; {} for Ollama."""
        return self._about.get("engine") or {}

    @property
    def embedded(self) -> bool:
        return bool(self._engine)

    @property
    def threads(self) -> int | None:
        return self._engine.get("threads")

    @property
    def packages(self) -> dict[str, str]:
        return {name: about for name, about in self._engine.items() if isinstance(about, str)}

    @property
    def name(self) -> str:
        return "embedded engine" if self.embedded else "Ollama"

    @property
    def api(self) -> str:
        """The product that `version` belongs to."""
        return "Ollama API of the embedded engine" if self.embedded else "Ollama"

    def version(self) -> str | None:
        return self._about.get("version")

    def installed(self) -> list[dict[str, Any]]:
        return list(self._get("/api/tags").get("models") or [])

    def loaded(self) -> list[dict[str, Any]]:
        return list(self._get("/api/ps").get("models") or [])

    def can_chat(self, model: dict[str, Any]) -> bool:
        """Whether one of those that are installed does; true for an Ollama too old to say it."""
        known = model.get("capabilities")
        if known is None:
            known = self._ask("POST", "/api/show", {"model": model["name"]}).get("capabilities")
        return "completion" in (known or ("completion",))

    def _get(self, path: str) -> dict[str, Any]:
        return self._ask("GET", path, None)

    def _ask(self, method: str, path: str, body: object) -> dict[str, Any]:
        try:
            answer = self._client.request(method, path, json=body).json()
        except (httpx.HTTPError, ValueError):
            return {}
        return answer if isinstance(answer, dict) else {}


def named(models: Iterable[dict[str, Any]], name: str) -> dict[str, Any]:
    """The model of that name, without regard to case and to an implied `:latest`; {} if there is none."""
    wanted = {name.lower(), f"{name.lower()}:latest"}
    return next((model for model in models if str(model.get("name")).lower() in wanted), {})

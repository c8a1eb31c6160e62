"""What to do once the stack is up: ask a model something, or get a model first."""

import os
import shlex
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import httpx

from deploy.native.stack import Stack, default_model, needs_key
from deploy.settings.values import MODEL
from deploy.terminal.curl import curl, example_question


@dataclass(frozen=True)
class Models:
    to_ask: str | None  # the default model if it can chat, else the first that can
    missing: str | None  # the default model, if it is not there


async def find_models(stack: Stack) -> Models:
    default = default_model(stack)
    async with AsyncExitStack() as clients:
        # By name, each with the first server that has it.
        models: dict[str, tuple[httpx.AsyncClient, dict[str, Any]]] = {}
        for server in stack.servers:
            client = await clients.enter_async_context(
                httpx.AsyncClient(base_url=server.url, trust_env=False)
            )
            for model in await _list_models(client):
                models.setdefault(model["name"], (client, model))
        there = next((name for name in (default, f"{default}:latest") if name in models), None)
        candidates = [there, *models] if there else list(models)
        missing = None if there or not default else default
        for name in candidates:
            if await _can_chat(*models[name]):
                return Models(name, missing)
    return Models(None, missing)


async def _list_models(client: httpx.AsyncClient) -> list[dict[str, Any]]:
    try:
        models = (await client.get("/api/tags")).json()["models"] or []
        return [model for model in models if isinstance(model["name"], str)]
    except (httpx.HTTPError, ValueError, LookupError, TypeError):
        return []  # the gateway polls it too, and logs what is wrong


async def _can_chat(client: httpx.AsyncClient, model: Mapping[str, Any]) -> bool:
    """Not an embedding model, nor one whose prompts would leave this machine."""
    if model.get("remote_host") and os.environ.get("GATEWAY_CLOUD_MODELS") != "on":
        return False
    try:
        if "capabilities" not in model:
            answer = await client.post("/api/show", json={"model": model["name"]})
            model = answer.raise_for_status().json()
        # An Ollama too old to list capabilities gets the benefit of the doubt.
        return "completion" in (model.get("capabilities") or ("completion",))
    except (httpx.HTTPError, ValueError, AttributeError, TypeError):
        return False


def next_steps(stack: Stack, models: Models) -> str:
    """Every command in it can be pasted."""
    if models.to_ask and not models.missing:
        return f"Open {stack.url} in a browser, or ask it something here:\n\n  {_ask(stack, models.to_ask)}\n"
    wanted = models.missing or os.environ.get("GATEWAY_MODELS", "").split(",")[0].strip() or MODEL
    if models.missing:
        lack = f"The model {wanted} is not there yet. Have Ollama pull it"
    else:
        lack = "There is no model yet that can chat. Have Ollama pull one"
    when = "Until then, ask another one" if models.to_ask else "Then ask it something"
    commands = "".join(f"  {_ollama(server.url)} pull {shlex.quote(wanted)}\n" for server in stack.servers)
    pull = curl(f"{stack.url}/api/pull", {"model": wanted}, needs_key=needs_key())
    return (
        f"{lack}:\n\n{commands}\n"
        f"or pull it through the stack, {_pull_permission()}:\n\n  {pull}\n\n"
        f"{when}:\n\n  {_ask(stack, models.to_ask or wanted)}\n"
    )


def _pull_permission() -> str:
    if needs_key():
        return "with a key of the role admin (make key NAME=me ROLE=admin)"
    if os.environ.get("GATEWAY_ADMIN_API") == "on":
        return "which GATEWAY_ADMIN_API=on allows"
    return "once it has been started with GATEWAY_ADMIN_API=on"


def _ask(stack: Stack, model: str) -> str:
    return curl(f"{stack.url}/chat", example_question(model), needs_key=needs_key())


def _ollama(url: str) -> str:
    """The command that reaches the Ollama there."""
    url = without_password(url).rstrip("/")
    if url in ("http://127.0.0.1:11434", "http://localhost:11434"):
        return "ollama"
    return f"OLLAMA_HOST={shlex.quote(url)} ollama"


def without_password(url: str) -> str:
    """`http://name:password@host` without the name and password, to be shown."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))

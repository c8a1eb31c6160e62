"""What people are told once the stack is up: how to ask it something, or how to get a model that it lacks."""

import json
import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import httpx
from stack import Stack, default_model, needs_key

# What the containers fetch as well: small, and it answers well on a CPU.
EXAMPLE = "qwen2.5:1.5b"


@dataclass(frozen=True)
class Models:
    """`to_ask` is the default one if it can chat, else the first that can; `missing` a default not there."""

    to_ask: str | None
    missing: str | None


async def find_models(stack: Stack) -> Models:
    default = default_model(stack)
    async with httpx.AsyncClient(base_url=stack.upstream_url, trust_env=False) as client:
        models = {model["name"]: model for model in await _listed(client)}
        there = next((name for name in (default, f"{default}:latest") if name in models), None)
        candidates = [there, *models] if there else list(models)
        missing = None if there or not default else default
        for name in candidates:
            if await _can_chat(client, models[name]):
                return Models(name, missing)
    return Models(None, missing)


async def _listed(client: httpx.AsyncClient) -> list[dict[str, Any]]:
    try:
        models = (await client.get("/api/tags")).json()["models"] or []
        return [model for model in models if isinstance(model["name"], str)]
    except (httpx.HTTPError, ValueError, LookupError, TypeError):
        return []  # the gateway looks at it all the time, and says what is wrong with it


async def _can_chat(client: httpx.AsyncClient, model: Mapping[str, Any]) -> bool:
    """Not if it is made for embeddings, or if what it is asked would leave the machine."""
    if model.get("remote_host") and os.environ.get("GATEWAY_CLOUD_MODELS") != "on":
        return False
    try:
        if "capabilities" not in model:
            answer = await client.post("/api/show", json={"model": model["name"]})
            model = answer.raise_for_status().json()
        # An Ollama that does not tell them yet is taken at its word that there is a model.
        return "completion" in (model.get("capabilities") or ("completion",))
    except (httpx.HTTPError, ValueError, AttributeError, TypeError):
        return False


def tell(stack: Stack, models: Models) -> str:
    """The words, with every command ready to be pasted."""
    if models.to_ask and not models.missing:
        return f"Ask it something:\n\n  {_ask(stack, models.to_ask)}\n"
    wanted = models.missing or os.environ.get("GATEWAY_MODELS", "").split(",")[0].strip() or EXAMPLE
    if models.missing:
        lack = f"The model {wanted} is not there yet. Have Ollama fetch it"
    else:
        lack = "There is no model yet that can chat. Have Ollama fetch one"
    when = "Until then, ask another one" if models.to_ask else "Then ask it something"
    return (
        f"{lack}:\n\n  {_ollama(stack)} pull {shlex.quote(wanted)}\n\n"
        f"or through the stack, {_who_may_pull()}:\n\n"
        f"  {_curl(stack, '/api/pull', {'model': wanted})}\n\n"
        f"{when}:\n\n  {_ask(stack, models.to_ask or wanted)}\n"
    )


def _who_may_pull() -> str:
    if needs_key():
        return "with a key of the role admin (make key NAME=me ROLE=admin)"
    if os.environ.get("GATEWAY_ADMIN_API") == "on":
        return "which GATEWAY_ADMIN_API=on allows"
    return "once you have started it with GATEWAY_ADMIN_API=on"


def _ask(stack: Stack, model: str) -> str:
    question = {"model": model, "messages": [{"role": "user", "content": "Why is the sky blue?"}]}
    return _curl(stack, "/chat", question)


def _curl(stack: Stack, path: str, body: object) -> str:
    credential = ["-H", "Authorization: Bearer YOUR-KEY"] if needs_key() else []
    return shlex.join(["curl", "-N", *credential, f"{stack.url}{path}", "-d", json.dumps(body)])


def _ollama(stack: Stack) -> str:
    """The command that reaches the Ollama behind the stack."""
    url = without_secret(stack.upstream_url).rstrip("/")
    if url in ("http://127.0.0.1:11434", "http://localhost:11434"):
        return "ollama"
    return f"OLLAMA_HOST={shlex.quote(url)} ollama"


def without_secret(url: str) -> str:
    """As it may be shown: of `http://name:password@host` only the host."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))

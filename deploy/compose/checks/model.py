"""Does the running stack have its model where the profile says, on the GPU or the CPU?"""

from collections.abc import Iterator
from typing import Any

from deploy.compose.checks.result import Result, fail, ok, warn
from deploy.compose.docker_cli import Container
from deploy.compose.settings import EXTERNAL, MODEL_SERVERS, Settings
from deploy.compose.stack_client import NoAnswer, ask

LOAD_SECONDS = 900  # a large model from a slow disk


def check_model(settings: Settings, containers: list[Container]) -> Iterator[Result]:
    """Nothing if the stack is not running."""
    running = {container.service for container in containers if container.running}
    profiles = [profile for profile, server in MODEL_SERVERS.items() if server in running]
    if not profiles and settings.profile == EXTERNAL and "gateway" in running:
        profiles = [EXTERNAL]
    if not profiles or "nginx" not in running:
        return
    if len(profiles) > 1:
        servers = " and ".join(MODEL_SERVERS[profile] for profile in profiles)
        yield fail(
            f"{servers} are running at the same time, and the gateway uses now one, now the other",
            f"Keep one: make up PROFILE={settings.profiles}",
        )
        return
    profile = profiles[0]
    if profile != settings.profile:
        yield warn(
            f"the stack is running with the profile {profile}, not {settings.profile}",
            f"Change it: make up PROFILE={settings.profiles}",
        )
    try:
        if profile == EXTERNAL:
            yield from _elsewhere(settings)
            return
        if profile not in ("gpu", "amd"):
            yield _on_cpu(settings)
            return
        if not (loaded := _loaded(settings)):
            model = _first_model(settings)
            if model is None:
                yield warn("there is no model yet, so it is unknown whether it will run on the GPU")
                return
            yield ok(f"no model is loaded; loading {model} to see where it runs")
            ask(settings, "/api/generate", {"model": model, "stream": False}, LOAD_SECONDS)
            loaded = _loaded(settings)
    except NoAnswer as error:
        yield warn(f"the stack gives no list at {settings.url}: {error}", "See why: make ps, make logs")
        return
    if not loaded:
        yield fail(f"{model} cannot be loaded", f"See why: make logs SERVICE={MODEL_SERVERS[profile]}")
    for one in loaded:
        yield _placement(one, MODEL_SERVERS[profile])


def _placement(model: dict[str, Any], server: str) -> Result:
    name, size, on_gpu = model.get("name"), model.get("size") or 0, model.get("size_vram") or 0
    if on_gpu <= 0:
        return fail(
            f"{name} runs on the CPU, although the profile says GPU",
            f"Give the container its card again: docker compose --profile '*' restart {server}. "
            f"If that does not help, see which card it found: make logs SERVICE={server}",
        )
    if on_gpu < size:
        return warn(
            f"{name} runs only partly on the GPU: {100 * on_gpu / size:.0f} % of it fits",
            "Use a smaller model, or a shorter context (num_ctx)",
        )
    return ok(f"{name} runs on the GPU")


def _elsewhere(settings: Settings) -> Iterator[Result]:
    """Of several servers, the lists are the union."""
    pulled = ", ".join(_with_servers(model) for model in _models(settings, "/api/tags")) or "no model"
    yield ok(f"the stack is running at {settings.url}, with model servers elsewhere; pulled: {pulled}")
    for model in _loaded(settings):
        size, on_gpu = model.get("size") or 0, model.get("size_vram") or 0
        share = "the CPU" if on_gpu <= 0 else "the GPU"
        if 0 < on_gpu < size:
            share = f"the GPU with {100 * on_gpu / size:.0f} % of it"
        told = f"{_with_servers(model)} is loaded and runs on {share}"
        if on_gpu >= size or settings.gpu_expected == "off":
            yield ok(told)
        else:
            yield warn(told, "GATEWAY_GPU_EXPECTED is on: see why in the log of that server")


def _with_servers(model: dict[str, Any]) -> str:
    """The name of a model, and of the servers that have it if there are several."""
    name, servers = model.get("name"), model.get("servers")
    return f"{name} ({', '.join(map(str, servers))})" if isinstance(servers, list) else str(name)


def _on_cpu(settings: Settings) -> Result:
    names = ", ".join(str(model.get("name")) for model in _loaded(settings))
    return ok(f"the stack is running at {settings.url}, on the CPU; loaded: {names or 'no model'}")


def _loaded(settings: Settings) -> list[dict[str, Any]]:
    return _models(settings, "/api/ps")


def _first_model(settings: Settings) -> str | None:
    names = [str(model.get("name")) for model in _models(settings, "/api/tags")]
    return next((name for name in (*settings.models, *names) if name in names), None)


def _models(settings: Settings, path: str) -> list[dict[str, Any]]:
    """Raises NoAnswer."""
    status, answer = ask(settings, path)
    if status != 200:
        hint = "; it needs an API key: set SLUICE_KEY to a valid one" if status == 401 else ""
        raise NoAnswer(f"{path} answers with status {status}{hint}")
    models = answer.get("models")
    return models if isinstance(models, list) else []

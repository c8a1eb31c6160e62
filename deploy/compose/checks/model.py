"""Does the model of the running stack run where the profile promises?"""

from collections.abc import Iterator
from typing import Any

from containers import Container
from environment import MODEL_SERVERS, Settings
from finding import Finding, fail, ok, warn
from public_port import NoAnswer, ask

LOAD_SECONDS = 600  # a large model from a slow disk


def check_model(settings: Settings, containers: list[Container]) -> Iterator[Finding]:
    """Nothing when the stack does not run."""
    running = {container.service for container in containers if container.running}
    profiles = [profile for profile, server in MODEL_SERVERS.items() if server in running]
    if not profiles or "nginx" not in running:
        return
    if len(profiles) > 1:
        servers = " and ".join(MODEL_SERVERS[profile] for profile in profiles)
        yield fail(
            f"{servers} run at the same time, and the gateway asks now one, now the other",
            f"Keep one: make up PROFILE={settings.profiles}",
        )
        return
    profile = profiles[0]
    if profile != settings.profile:
        yield warn(
            f"the stack runs with the profile {profile}, not {settings.profile}",
            f"Change it: make up PROFILE={settings.profiles}",
        )
    try:
        if profile not in ("gpu", "amd"):
            yield _on_cpu(settings)
            return
        if not (loaded := _loaded(settings)):
            model = _first(settings)
            if model is None:
                yield warn("no model is there yet, so nobody knows whether it will run on the GPU")
                return
            yield ok(f"no model is loaded; loading {model} to see where it runs")
            ask(settings, "/api/generate", {"model": model, "stream": False}, LOAD_SECONDS)
            loaded = _loaded(settings)
    except NoAnswer as error:
        yield warn(f"the stack does not answer at {settings.url}: {error}", "Look: make ps, make logs")
        return
    if not loaded:
        yield fail(f"{model} cannot be loaded", f"See why: make logs SERVICE={MODEL_SERVERS[profile]}")
    for one in loaded:
        yield _where(one, MODEL_SERVERS[profile])


def _where(model: dict[str, Any], server: str) -> Finding:
    name, size, on_gpu = model.get("name"), model.get("size") or 0, model.get("size_vram") or 0
    if on_gpu <= 0:
        return fail(
            f"{name} runs on the CPU, although the profile promises the GPU",
            f"Give the container its card back: docker compose --profile '*' restart {server}. "
            f"If that does not help, see what it found: make logs SERVICE={server}",
        )
    if on_gpu < size:
        return warn(
            f"{name} runs on the GPU only in part: {100 * on_gpu / size:.0f} % of it fits",
            "Take a smaller model, or a shorter context (num_ctx)",
        )
    return ok(f"{name} runs on the GPU")


def _on_cpu(settings: Settings) -> Finding:
    names = ", ".join(str(model.get("name")) for model in _loaded(settings))
    return ok(f"the stack runs at {settings.url}, on the CPU; loaded: {names or 'no model'}")


def _loaded(settings: Settings) -> list[dict[str, Any]]:
    return _models(settings, "/api/ps")


def _first(settings: Settings) -> str | None:
    names = [str(model.get("name")) for model in _models(settings, "/api/tags")]
    return next((name for name in (*settings.models, *names) if name in names), None)


def _models(settings: Settings, path: str) -> list[dict[str, Any]]:
    """Raises NoAnswer."""
    status, answer = ask(settings, path)
    if status != 200:
        raise NoAnswer(f"{path} gives status {status}")
    models = answer.get("models")
    return models if isinstance(models, list) else []

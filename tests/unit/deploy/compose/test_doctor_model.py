"""Where the model of the running stack runs."""

import pytest

from deploy.compose.checks.model import check_model
from deploy.compose.docker_cli import Container
from tests.unit.deploy.compose.machine import FakeStack, MakeSettings, container, levels_and_text

TAGS = {"models": [{"name": "llama3.2:3b"}, {"name": "qwen2.5:1.5b"}]}


def running(server: str) -> list[Container]:
    return [container("nginx"), container("gateway"), container(server)]


def loaded(size: int, on_gpu: int) -> dict[str, object]:
    return {"models": [{"name": "qwen2.5:1.5b", "size": size, "size_vram": on_gpu}]}


@pytest.mark.parametrize(
    ("profile", "on_gpu", "level", "said"),
    [
        ("gpu", 1000, "ok", "qwen2.5:1.5b runs on the GPU"),
        ("gpu", 250, "warn", "25 % of it"),
        ("gpu", 0, "fail", "restart ollama-gpu"),
        ("amd", 0, "fail", "restart ollama-amd"),
    ],
)
def test_size_vram_tells_where_a_loaded_model_runs(
    stack: FakeStack, settings: MakeSettings, profile: str, on_gpu: int, level: str, said: str
) -> None:
    stack.answers["/api/ps"] = (200, loaded(1000, on_gpu))
    told = settings(PORT=stack.port, COMPOSE_PROFILES=profile)
    levels, text = levels_and_text(check_model(told, running(f"ollama-{profile}")))
    assert levels == [level]
    assert said in text


def test_on_the_cpu_nothing_is_promised_and_nothing_loaded(stack: FakeStack, settings: MakeSettings) -> None:
    stack.answers["/api/ps"] = (200, {"models": []})
    levels, text = levels_and_text(check_model(settings(PORT=stack.port), running("ollama")))
    assert levels == ["ok"]
    assert "on the CPU; loaded: no model" in text
    assert stack.asked == [("/api/ps", None)]


def test_when_none_is_loaded_the_wished_one_is_loaded_to_see(
    stack: FakeStack, settings: MakeSettings
) -> None:
    def ps() -> tuple[int, object]:
        was_asked = any(path == "/api/generate" for path, _ in stack.asked)
        return 200, loaded(1000, 1000) if was_asked else {"models": []}

    stack.answers = {"/api/ps": ps, "/api/tags": (200, TAGS), "/api/generate": (200, {"done": True})}
    told = settings(PORT=stack.port, COMPOSE_PROFILES="gpu")
    levels, text = levels_and_text(check_model(told, running("ollama-gpu")))
    assert levels == ["ok", "ok"]
    assert "loading qwen2.5:1.5b to see where it runs" in text
    assert ("/api/generate", {"model": "qwen2.5:1.5b", "stream": False}) in stack.asked


def test_a_model_that_cannot_be_loaded_is_a_fail(stack: FakeStack, settings: MakeSettings) -> None:
    stack.answers = {"/api/ps": (200, {"models": []}), "/api/tags": (200, TAGS), "/api/generate": (500, {})}
    told = settings(PORT=stack.port, COMPOSE_PROFILES="gpu")
    levels, text = levels_and_text(check_model(told, running("ollama-gpu")))
    assert levels == ["ok", "fail"]
    assert "make logs SERVICE=ollama-gpu" in text


def test_without_any_model_nobody_knows(stack: FakeStack, settings: MakeSettings) -> None:
    stack.answers = {"/api/ps": (200, {"models": []}), "/api/tags": (200, {"models": []})}
    told = settings(PORT=stack.port, COMPOSE_PROFILES="gpu")
    assert levels_and_text(check_model(told, running("ollama-gpu")))[0] == ["warn"]


def test_a_stack_of_another_profile_is_said_to_be_one(stack: FakeStack, settings: MakeSettings) -> None:
    stack.answers["/api/ps"] = (200, {"models": []})
    told = settings(PORT=stack.port, COMPOSE_PROFILES="gpu")
    levels, text = levels_and_text(check_model(told, running("ollama")))
    assert levels == ["warn", "ok"]
    assert "profile cpu, not gpu. Change it: make up PROFILE=gpu" in text


def test_two_model_servers_at_once_are_one_too_many(settings: MakeSettings) -> None:
    both = [*running("ollama"), container("ollama-gpu")]
    levels, text = levels_and_text(check_model(settings(COMPOSE_PROFILES="gpu"), both))
    assert levels == ["fail"]
    assert "ollama and ollama-gpu are running at the same time" in text
    assert "make up PROFILE=gpu" in text


def test_a_stack_that_does_not_run_is_not_asked(settings: MakeSettings) -> None:
    assert not list(check_model(settings(), []))
    assert not list(check_model(settings(), [container("nginx"), container("ollama", "exited")]))


def test_a_stack_that_does_not_answer_is_a_warning(stack: FakeStack, settings: MakeSettings) -> None:
    stack.answers["/api/ps"] = (502, {})
    levels, text = levels_and_text(check_model(settings(PORT=stack.port), running("ollama")))
    assert levels == ["warn"]
    assert "/api/ps answers with status 502" in text


def elsewhere(*models: dict[str, object]) -> dict[str, object]:
    return {"models": [{"name": "qwen2.5:1.5b", "size": 1000, **model} for model in models]}


@pytest.mark.parametrize(
    ("on_gpu", "expected", "level", "said"),
    [
        (1000, "off", "ok", "is loaded and runs on the GPU"),
        (250, "off", "ok", "runs on the GPU with 25 % of it"),
        (0, "off", "ok", "runs on the CPU"),
        (0, "on", "warn", "GATEWAY_GPU_EXPECTED is on"),
    ],
)
def test_of_servers_elsewhere_it_tells_what_they_have_and_where_it_runs(
    stack: FakeStack, settings: MakeSettings, on_gpu: int, expected: str, level: str, said: str
) -> None:
    stack.answers["/api/tags"] = (200, TAGS)
    stack.answers["/api/ps"] = (200, elsewhere({"size_vram": on_gpu}))
    told = settings(PORT=stack.port, COMPOSE_PROFILES="external", GATEWAY_GPU_EXPECTED=expected)
    levels, text = levels_and_text(check_model(told, [container("nginx"), container("gateway")]))
    assert levels == ["ok", level]
    assert "with model servers elsewhere; pulled: llama3.2:3b, qwen2.5:1.5b" in text
    assert said in text


def test_where_there_are_several_servers_elsewhere_each_model_is_shown_with_its_own(
    stack: FakeStack, settings: MakeSettings
) -> None:
    stack.answers["/api/tags"] = (200, elsewhere({"servers": ["gpu1", "gpu2"]}))
    stack.answers["/api/ps"] = (200, {"models": []})
    told = settings(PORT=stack.port, COMPOSE_PROFILES="external")
    _, text = levels_and_text(check_model(told, [container("nginx"), container("gateway")]))
    assert "pulled: qwen2.5:1.5b (gpu1, gpu2)" in text

"""Which model the native run suggests, and what it says where there is none."""

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deploy.native.next_steps import Models, find_models, next_steps
from deploy.native.stack import Stack
from tests.unit.deploy.compose.machine import FakeStack


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("GATEWAY_DEFAULT_MODEL", "GATEWAY_MODELS", "GATEWAY_ADMIN_API", "GATEWAY_CLOUD_MODELS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GATEWAY_KEYS_FILE", str(tmp_path / "keys"))


@pytest.fixture
def ollama(stack: FakeStack) -> FakeStack:
    return stack


def in_front_of(ollama: FakeStack) -> Stack:
    return Stack("127.0.0.1", 8000, 8001, 11435, f"http://127.0.0.1:{ollama.port}")


def models(ollama: FakeStack, **capabilities: list[str] | None) -> None:
    """Those it lists, in this order, and what /api/show says that they can; None: it fails."""
    ollama.answers["/api/tags"] = (200, {"models": [{"name": name} for name in capabilities]})

    def show() -> tuple[int, Any]:
        known = capabilities[ollama.asked[-1][1]["model"]]
        return (500, {"error": "no"}) if known is None else (200, {"capabilities": known})

    ollama.answers["/api/show"] = show


async def test_an_embedding_model_is_not_suggested_though_it_is_listed_first(ollama: FakeStack) -> None:
    models(ollama, nomic=["embedding"], broken=None, llama=["completion", "tools"], other=["completion"])
    assert await find_models(in_front_of(ollama)) == Models("llama", missing=None)


async def test_what_the_list_says_of_a_model_is_enough(ollama: FakeStack) -> None:
    listed = [
        {"name": "nomic", "capabilities": ["embedding"]},
        {"name": "llama", "capabilities": ["completion"]},
    ]
    ollama.answers["/api/tags"] = (200, {"models": listed})
    assert await find_models(in_front_of(ollama)) == Models("llama", missing=None)
    assert [path for path, _ in ollama.asked] == ["/api/tags"]


async def test_an_old_ollama_that_does_not_say_what_models_can_is_no_hindrance(ollama: FakeStack) -> None:
    ollama.answers["/api/tags"] = (200, {"models": [{"name": "llama"}]})
    ollama.answers["/api/show"] = (200, {"details": {}})
    assert await find_models(in_front_of(ollama)) == Models("llama", missing=None)


async def test_the_default_model_comes_first_and_its_tag_may_be_left_out(
    ollama: FakeStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    models(ollama, **{"llama": ["completion"], "mine:latest": ["completion"]})
    monkeypatch.setenv("GATEWAY_DEFAULT_MODEL", "mine")
    assert await find_models(in_front_of(ollama)) == Models("mine:latest", missing=None)


async def test_a_default_model_that_cannot_chat_is_not_suggested(
    ollama: FakeStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    models(ollama, nomic=["embedding"], llama=["completion"])
    monkeypatch.setenv("GATEWAY_DEFAULT_MODEL", "nomic")
    assert await find_models(in_front_of(ollama)) == Models("llama", missing=None)


async def test_a_default_model_that_is_not_there_is_missed(
    ollama: FakeStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    models(ollama, llama=["completion"])
    monkeypatch.setenv("GATEWAY_DEFAULT_MODEL", "mine")
    found = await find_models(in_front_of(ollama))
    assert found == Models("llama", missing="mine")
    said = next_steps(in_front_of(ollama), found)
    assert "The model mine is not there yet" in said
    assert "ollama pull mine" in said
    assert '"model": "llama", "messages"' in said


async def test_a_model_of_a_cloud_is_suggested_only_where_clouds_are_allowed(
    ollama: FakeStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = {"name": "gpt-oss:cloud", "remote_host": "https://ollama.com", "capabilities": ["completion"]}
    ollama.answers["/api/tags"] = (200, {"models": [away]})
    assert await find_models(in_front_of(ollama)) == Models(None, missing=None)
    monkeypatch.setenv("GATEWAY_CLOUD_MODELS", "on")
    assert await find_models(in_front_of(ollama)) == Models("gpt-oss:cloud", missing=None)


@pytest.mark.parametrize(
    "answer", [(500, {}), (200, {"models": None}), (200, {"models": [{"n": 1}]}), (200, [])]
)
async def test_an_answer_that_is_no_list_is_as_good_as_none(
    ollama: FakeStack, answer: tuple[int, Any]
) -> None:
    ollama.answers["/api/tags"] = answer
    assert await find_models(in_front_of(ollama)) == Models(None, missing=None)


def with_keys(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    (folder / "keys").touch()


def managing_allowed(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setenv("GATEWAY_ADMIN_API", "on")


def open_to_all(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    pass


@pytest.mark.parametrize(
    ("access", "says", "header"),
    [
        (open_to_all, "once it has been started with GATEWAY_ADMIN_API=on:", ""),
        (managing_allowed, "which GATEWAY_ADMIN_API=on allows:", ""),
        (with_keys, "a key of the role admin", "-H 'Authorization: Bearer YOUR-KEY' "),
    ],
)
def test_how_to_get_a_model_names_what_has_to_be_allowed(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    access: Callable[[pytest.MonkeyPatch, Path], None],
    says: str,
    header: str,
) -> None:
    access(monkeypatch, tmp_path)
    monkeypatch.setenv("GATEWAY_MODELS", "llama3.2:3b, other")
    stack = Stack("127.0.0.1", 8000, 8001, 11435, "http://name:secret@127.0.0.1:11434/")
    said = next_steps(stack, Models(None, missing=None))
    assert says in said
    assert "\n  ollama pull llama3.2:3b\n" in said
    assert f"""\n  curl -N {header}http://127.0.0.1:8000/api/pull -d '{{"model": "llama3.2:3b"}}'\n""" in said
    assert f"""\n  curl -N {header}http://127.0.0.1:8000/chat -d '{{"model": "llama3.2:3b", """ in said
    assert "secret" not in said


def test_the_name_of_a_model_is_quoted_for_the_shell() -> None:
    stack = Stack("127.0.0.1", 8000, 8001, 11435, "http://ollama:11434")
    said = next_steps(stack, Models(None, missing="it's")).splitlines()
    assert shlex.split(said[2]) == ["OLLAMA_HOST=http://ollama:11434", "ollama", "pull", "it's"]

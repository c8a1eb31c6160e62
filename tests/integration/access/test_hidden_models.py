"""Models that a key may not use do not exist for it."""

import pytest

from tests.integration.access.guarded import CLASSES, ROUTES, Guarded
from tests.integration.apis import sent


@pytest.mark.parametrize(
    ("path", "field", "name"),
    [
        ("/api/tags", "models", "name"),
        ("/v1/models", "data", "id"),
        ("/v1/models/", "data", "id"),
        ("//v1//models", "data", "id"),
        ("/api%2ftags/", "models", "name"),
        ("/api/experimental/model-recommendations", "recommendations", "model"),
    ],
)
def test_models_that_a_key_may_not_use_are_not_listed(
    guarded: Guarded, path: str, field: str, name: str
) -> None:
    def listed(who: str) -> set[str]:
        return {model[name] for model in guarded.ask("GET", path, who).json()[field]}

    assert listed("restricted") == {"llama3:8b"}
    assert {"llama3:8b", "secret:latest"} <= listed("user")


def test_loaded_models_that_a_key_may_not_use_are_not_shown(guarded: Guarded) -> None:
    running = guarded.ask("GET", "/api/ps", "restricted").json()["models"]
    assert running == [{"name": "llama3:8b"}]


def test_a_model_that_a_key_may_not_use_does_not_exist(guarded: Guarded) -> None:
    """Whether it exists or not: the answers are identical."""
    before = len(guarded.fake.received)
    for (method, path), kind in CLASSES.items():
        if kind not in ("inference", "read", "admin") or (method, path) not in ROUTES or "digest" in path:
            continue
        answers = []
        for model in ("secret", "absent"):
            body = {"model": model, "messages": [{"role": "user", "content": "x"}]}
            if "{model" not in path and method not in ("POST", "DELETE"):
                continue
            if path == "/api/copy":
                body = {"source": model, "destination": "llama3:mine"}
            there = path.replace("{model:path}", model)
            headers = {"Authorization": f"Bearer {guarded.keys['restricted admin']}"}
            content = sent(ROUTES[method, path], body) if "{" not in path else {}
            response = guarded.client.request(method, there, headers=headers, **content)
            assert response.status_code == 404, f"{method} {path}"
            answers.append(response.text.replace(model, "").replace(response.headers["x-request-id"], ""))
        assert len(set(answers)) <= 1
    assert len(guarded.fake.received) == before


def test_models_with_a_slash_are_hidden_too(guarded: Guarded) -> None:
    assert guarded.ask("GET", "/v1/models/hf.co/org/llama3", "user").status_code == 200
    assert guarded.ask("GET", "/v1/models/hf.co/org/llama3", "restricted").status_code == 404
    assert guarded.ask("GET", "/v1/models/hf.co%2Forg%2Fllama3", "restricted").status_code == 404

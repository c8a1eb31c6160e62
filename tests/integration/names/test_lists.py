"""Lists show a caller the aliases that it may use."""

import pytest

from tests.integration.names.named import Named

LISTS = [("/api/tags", "models", "name"), ("/v1/models", "data", "id")]


@pytest.mark.parametrize(("path", "field", "name"), LISTS)
def test_aliases_are_listed_with_the_models(named: Named, path: str, field: str, name: str) -> None:
    def listed(who: str) -> list[str]:
        return [item[name] for item in named.get(path, who).json()[field]]

    names = listed("user")
    # `lost` has no model, and the model of `stub` is on another host.
    assert names[-4:] == ["fast", "gpt-4o-mini", "openai/gpt-4o", "taken"]
    assert {"real:1b", "large:70b"} <= set(names)
    assert "taken:latest" not in names  # it cannot be reached
    assert listed("alias") == ["fast"]
    assert listed("target") == ["real:1b", "fast", "gpt-4o-mini"]


def test_an_alias_is_described_as_its_model(named: Named) -> None:
    listed = {item["id"]: item for item in named.get("/v1/models").json()["data"]}
    assert listed["fast"] == {**listed["real:1b"], "id": "fast"}
    tags = {item["name"]: item for item in named.get("/api/tags").json()["models"]}
    assert tags["fast"] == {**tags["real:1b"], "name": "fast", "model": "fast"}


@pytest.mark.parametrize("spelled", ["fast", "FAST", "fast:latest", "openai/gpt-4o", "openai%2Fgpt-4o"])
def test_an_alias_has_an_entry_of_its_own(named: Named, spelled: str) -> None:
    answer = named.get(f"/v1/models/{spelled}")
    assert answer.json()["id"] == spelled.replace("%2F", "/")
    assert named.client.head(f"/v1/models/{spelled}", headers=named.key("user")).status_code == 200


@pytest.mark.parametrize(
    ("who", "name"), [("alias", "openai/gpt-4o"), ("alias", "real:1b"), ("target", "taken")]
)
def test_an_alias_that_a_key_may_not_use_has_none(named: Named, who: str, name: str) -> None:
    assert named.get(f"/v1/models/{name}", who).status_code == 404


def test_loaded_models_have_their_own_names(named: Named) -> None:
    named.fake.loaded = [{"name": "real:1b"}]
    assert named.get("/api/ps", "target").json()["models"] == [{"name": "real:1b"}]

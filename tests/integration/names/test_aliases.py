"""An alias is a name like any other for clients, and unknown to the model server."""

import json
from typing import Any

import httpx
import pytest

from tests.fakes.ollama import DONE
from tests.integration.apis import CASES, Case
from tests.integration.names.named import Named
from tests.integration.scrapes import value


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_api_takes_an_alias_and_passes_all_else_on_as_it_is(named: Named, case: Case) -> None:
    body = json.dumps(case.request("FAST", answers=case.name), indent=3, ensure_ascii=False).encode()
    body = body.replace(b'"stream"', b'"x": [1.0, "\\u0066AST", {"model": "FAST"}],\n"stream"')
    answer, received = named.send(case.path, body)
    assert answer.status_code == 200
    assert case.terminals(answer.content) == 1
    assert received.body == body.replace(b'"model": "FAST"', b'"model": "real:1b"', 1)
    assert received.headers["content-length"] == str(len(received.body))
    assert answer.headers["x-request-changed"] == "model=real:1b"


@pytest.mark.parametrize("path", ["/api/embed", "/api/embeddings", "/v1/embeddings", "/api/show"])
def test_embeddings_and_details_too(named: Named, path: str) -> None:
    answer, received = named.send(path, b'{"model": "fast:latest", "input": "hi"}')
    assert answer.status_code == 200
    assert received.body == b'{"model": "real:1b", "input": "hi"}'


def test_a_form_names_the_model_too(named: Named) -> None:
    recording = b"RIFF\r\n--fast\x00\xff"
    files: Any = [("model", (None, "fast")), ("language", (None, "fast")), ("file", ("fast", recording))]
    answer = named.client.post("/v1/audio/transcriptions", files=files, headers=named.key("user"))
    assert answer.status_code == 200
    received = named.fake.received[-1]
    assert received.headers["content-length"] == str(len(received.body))
    assert b'name="model"\r\n\r\nreal:1b\r\n' in received.body
    assert b'name="language"\r\n\r\nfast\r\n' in received.body
    assert b'filename="fast"' in received.body
    assert recording in received.body
    assert answer.headers["x-request-changed"] == "model=real:1b"


def test_every_position_that_names_a_model_is_changed(named: Named) -> None:
    _, received = named.send("/api/chat", b'{"model":"real:1b","MODEL":"openai/gpt-4o","messages":[]}')
    assert received.body == b'{"model":"real:1b","MODEL":"large:70b","messages":[]}'


def test_a_request_without_an_alias_is_not_changed(named: Named) -> None:
    body = b'{ "model":"real:1b" ,"messages":[]}'
    answer, received = named.send("/api/chat", body)
    assert received.body == body
    assert "x-request-changed" not in answer.headers
    assert "alias" not in named.logged(answer)


def test_the_log_has_both_names_and_metrics_the_models(named: Named) -> None:
    def counted(model: str) -> float:
        return value(named.url, "gateway_requests_total", route="/chat", model=model) or 0

    before = counted("real:1b")
    answer = named.ask("/chat", model="Fast", messages=[])
    line = named.logged(answer)
    assert (line["model"], line["alias"]) == ("real:1b", "Fast")
    assert counted("real:1b") == before + 1
    assert counted("fast:latest") == 0


def test_a_model_that_is_missing_is_passed_over(named: Named) -> None:
    named.ask("/chat", model="gpt-4o-mini", messages=[])
    assert named.sent_last()["model"] == "real:1b"


def test_an_alias_without_any_model_is_an_error_that_names_the_missing_one(named: Named) -> None:
    answer = named.ask("/v1/chat/completions", model="lost", messages=[])
    assert answer.status_code == 404
    assert answer.json()["error"]["message"] == "model 'absent:7b' not found"
    assert named.get("/v1/models/lost").status_code == 404


def test_an_alias_wins_over_a_model_of_its_name(named: Named) -> None:
    named.ask("/api/chat", model="taken", messages=[])
    assert named.sent_last()["model"] == "large:70b"


def test_a_key_with_a_list_needs_the_alias_or_its_model(named: Named) -> None:
    for who in ("alias", "target"):
        assert named.ask("/api/chat", who, model="fast", messages=[]).status_code == 200
        refused = named.ask("/api/chat", who, model="openai/gpt-4o", messages=[])
        assert refused.status_code == 404
        assert refused.json()["error"] == "model 'openai/gpt-4o' not found"
    assert named.ask("/api/chat", "alias", model="real:1b", messages=[]).status_code == 404
    assert named.ask("/api/chat", "target", model="gpt-4o-mini", messages=[]).status_code == 200


def test_two_names_in_one_request_must_both_be_allowed(named: Named) -> None:
    body = {"model": "fast", "MODEL": "taken", "messages": []}
    assert named.ask("/api/chat", "alias", **body).status_code == 404
    assert named.ask("/api/chat", "alias", **{**body, "MODEL": "real:1b"}).status_code == 404


def test_an_alias_of_a_model_on_another_host_is_refused(named: Named) -> None:
    before = len(named.fake.received)
    assert named.ask("/api/chat", model="stub", messages=[]).status_code == 403
    assert len(named.fake.received) == before


@pytest.mark.parametrize(
    ("method", "path", "fields"),
    [
        ("POST", "/api/pull", {"model": "fast"}),
        ("POST", "/api/push", {"model": "fast"}),
        ("POST", "/api/create", {"model": "new", "from": "fast"}),
        ("POST", "/api/create", {"model": "fast", "from": "real:1b"}),
        ("POST", "/api/copy", {"source": "fast", "destination": "new"}),
        ("DELETE", "/api/delete", {"name": "Fast:latest"}),
    ],
)
def test_models_are_managed_by_their_own_names(
    named: Named, method: str, path: str, fields: dict[str, str]
) -> None:
    before = len(named.fake.received)
    answer = named.client.request(method, path, json=fields, headers=named.key("admin"))
    assert answer.status_code == 400
    assert "is an alias of real:1b here, see GATEWAY_ALIASES" in answer.json()["error"]
    assert len(named.fake.received) == before


def test_a_model_behind_an_alias_of_the_same_name_can_be_deleted(named: Named) -> None:
    named.client.request("DELETE", "/api/delete", json={"model": "taken"}, headers=named.key("admin"))
    assert named.sent_last() == {"model": "taken"}


def test_a_page_may_read_what_has_been_changed(named: Named) -> None:
    headers = {**named.key("user"), "Origin": "http://page"}
    answer = named.client.post("/api/chat", json={"model": "fast"}, headers=headers)
    assert "x-request-changed" in answer.headers["access-control-expose-headers"]


def test_when_the_preferred_model_is_installed_it_is_used(named: Named) -> None:
    named.fake.answer("absent:7b", DONE)
    try:
        # The gateway looks for a model that it does not know.
        assert named.ask("/api/chat", model="absent:7b", messages=[]).status_code == 200
        named.ask("/api/chat", model="gpt-4o-mini", messages=[])
        assert named.sent_last()["model"] == "absent:7b"
    finally:
        del named.fake.answers["absent:7b"]
        assert named.ask("/api/chat", model="gone", messages=[]).status_code == 404
    named.ask("/api/chat", model="gpt-4o-mini", messages=[])
    assert named.sent_last()["model"] == "real:1b"


def test_a_client_of_openai_finds_the_alias(named: Named) -> None:
    response = httpx.get(f"{named.url}/v1/models/fast", headers=named.key("alias"))
    assert response.json() == {"id": "fast", "owned_by": "library"}

"""Answers that are not streamed."""

import json

import httpx
import pytest

from tests.fakes.ollama import DONE, Do, FakeOllama, line
from tests.integration.apis import Case, whole_answer
from tests.integration.every_api.requests import every_api_that_can_answer_whole, post


@every_api_that_can_answer_whole
def test_a_whole_answer_passes_unchanged(case: Case, url: str, fake: FakeOllama) -> None:
    fake.answer("whole", whole_answer(case)[:3], whole_answer(case)[3:])
    response = post(url, case, "whole", stream=False)
    assert response.content == whole_answer(case)
    assert response.headers["content-length"] == str(len(whole_answer(case)))


@pytest.mark.parametrize(("path", "streams"), [("/api/generate", True), ("/v1/completions", False)])
def test_a_request_that_does_not_say_whether_to_stream_gets_the_apis_default(
    path: str, streams: bool, url: str, fake: FakeOllama
) -> None:
    fake.answer("m", line(), DONE)
    for request in ({"model": "m"}, {"model": "m", "stream": None}):
        response = httpx.post(f"{url}{path}", json=request)
        assert ("content-length" not in response.headers) is streams


@every_api_that_can_answer_whole
def test_half_of_a_whole_answer_is_502(case: Case, url: str, fake: FakeOllama) -> None:
    fake.answer("half", whole_answer(case)[:3], Do.DROP)
    response = post(url, case, "half", stream=False)
    assert response.status_code == 502
    assert "error" in response.json()


@pytest.mark.parametrize("prefix", ["chatcmpl-", "cmpl-", "resp_"])
def test_the_id_of_a_whole_answer_is_made_unique(prefix: str, url: str, fake: FakeOllama) -> None:
    fake.answer("m", json.dumps({"id": f"{prefix}7", "object": "x"}, separators=(",", ":")).encode())
    ids = {
        httpx.post(f"{url}/v1/chat/completions", json={"model": "m", "messages": []}).json()["id"]
        for _ in range(3)
    }
    assert len(ids) == 3
    assert all(value.startswith(prefix) for value in ids)

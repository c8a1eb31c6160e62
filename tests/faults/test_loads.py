"""Clients of a model that takes longer to load than they wait."""

import asyncio
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.fakes.loading import LoadingOllama
from tests.fakes.ollama import Do
from tests.integration.apis import CASES, CHAT, Case, whole_answer
from tests.integration.programs import gateway
from tests.processes import wait_until

IMPATIENT = {"GATEWAY_EARLY_COMMIT": "0.1", "GATEWAY_HEARTBEAT": "0.1", "GATEWAY_FIRST_BYTE_TIMEOUT": "0.5"}
OUT_OF_MEMORY = "llama-server process has terminated: cudaMalloc failed: out of memory"


@contextmanager
def loading(
    folder: Path, case: Case, seconds: float, failure: str = "", **settings: str
) -> Iterator[tuple[LoadingOllama, str]]:
    fake = LoadingOllama(seconds, failure)
    for model in ("m", "n"):
        fake.answer(model, case.answer.whole if case is CHAT else whole_answer(case))
    with fake.running(), gateway(fake.url, folder, **{**IMPATIENT, **settings}) as (process, url):
        process.wait_ready(f"{url}/readyz")
        yield fake, url


def whole(case: Case, model: str = "m", **fields: Any) -> dict[str, Any]:
    return case.request(model, stream=False, **fields)


def answered(url: str, request: dict[str, Any]) -> bool:
    try:
        return httpx.post(url, json=request, timeout=0.5).status_code == 200
    except httpx.ReadTimeout:
        return False


@pytest.mark.parametrize("case", CASES[1:], ids=lambda case: case.name)
def test_a_client_that_comes_again_gets_its_answer_after_one_load(case: Case, tmp_path: Path) -> None:
    """Without a stream, whose heartbeats would keep it waiting."""
    with loading(tmp_path, case, 3) as (fake, url):
        tries = 1
        while not answered(f"{url}{case.path}", whole(case)):
            tries += 1
            assert tries < 60
        assert tries > 3
        assert len(fake.received) == 1
        assert (fake.begun, fake.given_up) == (["m"], [])


async def test_a_failed_load_is_told_to_all_who_wait_in_upstreams_words_after_one_attempt(
    tmp_path: Path,
) -> None:
    case = CASES[1]
    with loading(tmp_path, case, 1, OUT_OF_MEMORY, GATEWAY_SLOTS="2") as (fake, url):
        async with httpx.AsyncClient(base_url=url, timeout=30) as client:
            # Two have a slot and wait for the load, the others wait for a slot.
            asked = [client.post(case.path, json=whole(case)) for _ in range(6)]
            answers = await asyncio.gather(*asked)
            assert [(answer.status_code, answer.json()) for answer in answers] == [
                (500, {"error": OUT_OF_MEMORY})
            ] * 6
            assert fake.begun == ["m"]
            assert (await client.post(case.path, json=whole(case))).status_code == 500
        assert fake.begun == ["m"] * 2
        assert not fake.received


async def test_one_load_is_for_all_who_have_the_same_options(tmp_path: Path) -> None:
    case = CASES[1]
    with loading(tmp_path, case, 1, GATEWAY_SLOTS="0") as (fake, url):
        async with httpx.AsyncClient(base_url=url, timeout=30) as client:
            options: list[dict[str, Any]] = [{}, {"num_ctx": 8192, "temperature": 0.5}, {"num_ctx": 8192}]
            asked = [client.post(case.path, json=whole(case, options=each)) for each in options * 3]
            assert {answer.status_code for answer in await asyncio.gather(*asked)} == {200}
        bodies = [json.loads(load.body) for load in fake.loads]
    load = {"model": "m", "stream": False}
    assert sorted(bodies, key=len) == [load, {**load, "options": {"num_ctx": 8192}}]
    assert len(fake.received) == 9


def test_who_leaves_leaves_the_load_alone(tmp_path: Path) -> None:
    with loading(tmp_path, CHAT, 2) as (fake, url):
        with httpx.stream("POST", f"{url}/chat", json=CHAT.request("m"), timeout=30) as response:
            assert next(response.iter_raw())
        wait_until(lambda: fake.loaded, 10, "the model is loaded although nobody waits")
        assert (fake.begun, fake.given_up) == (["m"], [])
        assert not fake.received


def test_a_load_has_its_own_limit_and_none_of_the_others_runs_meanwhile(tmp_path: Path) -> None:
    settings = {"GATEWAY_LOAD_TIMEOUT": "2", "GATEWAY_MAX_ANSWER_SECONDS": "1"}
    with loading(tmp_path, CHAT, 1.5, **settings) as (fake, url):
        assert httpx.post(f"{url}/chat", json=CHAT.request("m")).content.count(b'"done":true') == 1
        fake.seconds = 30
        began = time.monotonic()
        answer = httpx.post(f"{url}/chat", json=CHAT.request("n"), timeout=30)
        assert b"the model server did not load the model within 2 s" in answer.content
        assert time.monotonic() - began < 10
        wait_until(lambda: fake.given_up == ["n"], 5, "the load is given up")


def test_a_client_of_chat_is_told_how_long_a_load_runs_and_may_run(tmp_path: Path) -> None:
    with loading(tmp_path, CHAT, 1.5) as (fake, url):
        first = httpx.post(f"{url}/chat", json=CHAT.request("m"), timeout=30).text
        fake.loaded.clear()
        # The gateway has to know that the model is not in memory any more.
        httpx.post(f"{url}/api/generate", json={"model": "m", "keep_alive": 0})
        second = httpx.post(f"{url}/chat", json=CHAT.request("m"), timeout=30).text
    said = 'event: status\ndata: {"state": "loading", "model": "m:latest", "elapsed_seconds": 0'
    assert first.count("event: status") == second.count("event: status") == 1
    assert f"{said}}}\n\n" in first
    assert f'{said}, "eta_seconds": 2}}\n\n' in second


def test_what_follows_a_load_is_again_subject_to_upstreams_limits(tmp_path: Path) -> None:
    with loading(tmp_path, CHAT, 1) as (fake, url):
        fake.answer("m", Do.HANG)
        answer = httpx.post(f"{url}/chat", json=CHAT.request("m"), timeout=30)
        assert b"the model server was silent for too long" in answer.content

"""The invariants of a stream, each on each API, against an Ollama that misbehaves."""

import json
import re
import socket
from pathlib import Path

import httpx
import pytest

from tests.fakes.ollama import Answer, Do, FakeOllama
from tests.integration.apis import CASES, Case
from tests.integration.every_api.requests import every_api, post
from tests.integration.programs import gateway
from tests.processes import wait_until


@every_api
def test_an_answer_passes(case: Case, url: str, fake: FakeOllama) -> None:
    fake.answer("m", *case.answer.parts, case.answer.last)
    response = post(url, case, "m")
    assert response.status_code == 200
    assert case.terminals(response.content) == 1
    assert not case.tells_an_error(response.content)
    assert fake.received[-1].path == ("/api/chat" if case.name == "chat" else case.path)
    if case.name != "chat":
        assert case.same(response.content) == case.answer.whole


@every_api
def test_an_answer_in_single_bytes_is_the_same_answer(case: Case, url: str, fake: FakeOllama) -> None:
    whole = case.answer.whole
    fake.answer("whole", whole)
    fake.answer("bytes", *(whole[at : at + 1] for at in range(len(whole))))
    assert case.same(post(url, case, "bytes").content) == case.same(post(url, case, "whole").content)


@every_api
def test_a_unit_of_five_megabytes_passes(case: Case, url: str, fake: FakeOllama) -> None:
    parts = [part.replace(b"Hello", b"x" * 5_000_000) for part in case.answer.parts]
    fake.answer("large", *parts, case.answer.last)
    response = post(url, case, "large")
    assert len(response.content) > 5_000_000
    assert case.terminals(response.content) == 1


@every_api
def test_each_unit_arrives_before_the_next_one_is_generated(case: Case, url: str, fake: FakeOllama) -> None:
    fake.pause()
    fake.answer("paced", case.answer.parts[0], Do.WAIT, case.answer.last)
    with httpx.stream("POST", f"{url}{case.path}", json=case.request("paced"), timeout=30) as response:
        pieces = response.iter_raw()
        assert next(pieces)
        fake.go_on()
        assert case.terminals(b"".join(pieces)) == 1


@every_api
@pytest.mark.parametrize("fault", ["ends", "drops", "drops within a unit", "an error", "nonsense"])
def test_a_failure_midway_is_reported_once_and_ends_the_answer(
    case: Case, url: str, fake: FakeOllama, fault: str
) -> None:
    steps: dict[str, list[bytes | Do]] = {
        "ends": [],
        "drops": [Do.DROP],
        "drops within a unit": [case.answer.parts[1][:15], Do.DROP],
        "an error": [case.answer.error],
        "nonsense": [b"<html>oops</html>\n\n"],
    }
    fake.answer("breaks", case.answer.parts[0], *steps[fault])
    asked_before = len(fake.received)
    body = post(url, case, "breaks").content
    assert len(fake.received) == asked_before + 1  # after the first byte nothing is tried again
    assert case.tells_an_error(body)
    assert case.terminals(body) == 1


@every_api
def test_silence_before_the_answer_is_filled_with_heartbeats(
    case: Case, impatient: str, fake: FakeOllama
) -> None:
    fake.pause()
    fake.answer("slow", Do.WAIT, *case.answer.parts, case.answer.last)
    with httpx.stream("POST", f"{impatient}{case.path}", json=case.request("slow"), timeout=30) as response:
        assert response.status_code == 200
        pieces = response.iter_raw()
        signs = next(pieces) + next(pieces)
        fake.go_on()
        body = signs + b"".join(pieces)
    assert re.fullmatch(rb" *|(: [a-z-]+\n\n|event: status\ndata: [^\n]+\n\n)+", signs)
    assert case.terminals(body) == 1
    assert not case.tells_an_error(body)


def test_a_client_of_chat_is_informed_that_its_model_is_being_loaded(tmp_path: Path) -> None:
    with FakeOllama().running() as fake:
        fake.answer("cold", *CASES[0].answer.parts, CASES[0].answer.last)
        fake.loading = Answer([Do.WAIT, b"{}"])
        with (
            gateway(fake.url, tmp_path, GATEWAY_EARLY_COMMIT="0.1", GATEWAY_HEARTBEAT="0.1") as (_, url),
            httpx.stream("POST", f"{url}/chat", json=CASES[0].request("cold"), timeout=30) as response,
        ):
            pieces = response.iter_raw()
            said = b'{"state": "loading", "model": "cold:latest", "elapsed_seconds": 0}'
            assert next(pieces) == b"event: status\ndata: %b\n\n" % said
            assert next(pieces) == b": keep-alive\n\n"
            fake.go_on()
            assert CASES[0].terminals(b"".join(pieces)) == 1


@every_api
@pytest.mark.parametrize("phase", ["before the headers", "after the headers", "midway"])
def test_an_upstream_that_falls_silent_times_out(
    case: Case, impatient: str, fake: FakeOllama, phase: str
) -> None:
    begins: dict[str, list[bytes | Do]] = {
        "after the headers": [Do.HEADERS],
        "midway": [case.answer.parts[0]],
    }
    fake.answer("stalls", *begins.get(phase, []), Do.HANG)
    body = post(impatient, case, "stalls").content
    assert case.tells_an_error(body)
    assert case.terminals(body) == 1
    assert fake.received[-1].gone.wait(5)


@every_api
@pytest.mark.parametrize("phase", ["before the first byte", "midway", "whole"])
def test_a_client_that_disconnects_closes_the_connection_upstream(
    case: Case, url: str, fake: FakeOllama, phase: str
) -> None:
    if phase == "whole" and case.name == "chat":
        return  # it always streams
    fake.answer("hangs", *([case.answer.parts[0]] if phase == "midway" else []), Do.HANG)
    asked_before = len(fake.received)
    body = json.dumps(case.request("hangs", stream=phase != "whole")).encode()
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:
        head = f"POST {case.path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode() + body)
        wait_until(lambda: len(fake.received) > asked_before, 5, "upstream is asked")
        if phase == "midway":
            assert connection.recv(1000)
    assert fake.received[-1].gone.wait(5)

"""sluice.js in Node, with the real stack and with scripted answers."""

import json
from urllib.parse import urlsplit

import httpx
import pytest

from tests.browser import node
from tests.browser.stacks import Scripted
from tests.fakes.cuts import Cuts
from tests.fakes.ollama import DONE, Do, line
from tests.integration.stacks import Running, question, wait_until_free
from tests.processes import wait_until

WORDS = [f"word{number} " for number in range(200)]
HELLO = [{"role": "user", "content": "Speak."}]


@pytest.fixture
def speaking(script: Scripted) -> Scripted:
    script.fake.answer("words", *(step for word in WORDS for step in (line(word), 0.01)), DONE)
    return script


def begun(stack: Scripted, model: str) -> str:
    """Where to read an answer that the model server works on."""
    asked_before = len(stack.fake.received)
    question = {"model": model, "messages": HELLO}
    accepted = httpx.post(f"{stack.url}/chat", json=question, headers={"Prefer": "respond-async"})
    assert accepted.status_code == 202
    wait_until(lambda: len(stack.fake.received) > asked_before, 20, "the model server is asked")
    return accepted.headers["location"]


def texts(events: list[dict[str, object]]) -> list[object]:
    return [event["text"] for event in events if event["type"] == "chunk"]


def test_it_reads_the_real_models_answer(real: Running) -> None:
    asked = question("Tell a story.", temperature=0, seed=1, num_predict=50)
    direct = httpx.post(f"{real.url}/api/chat", json={**asked, "stream": False}, timeout=60).json()
    events = node.events("chat", url=real.url, **asked)
    accepted, *chunks, done = [event for event in events if event["type"] != "status"]
    assert accepted["type"] == "accepted"
    assert accepted["location"].startswith("/chat/")
    assert accepted["requestId"]
    assert "".join(chunk["text"] for chunk in chunks) == direct["message"]["content"]
    assert done["type"] == "done"
    assert done["data"]["eval_count"] == direct["eval_count"]


def test_an_abort_frees_the_slot_at_once(real: Running) -> None:
    asked = question("Count from one to ten thousand.", num_predict=3000)
    with node.started("chat", 5, url=real.url, **asked) as process:
        assert process.stdout
        wait_until(lambda: real.busy_slots() == 1, 30, "the model generates")
        printed = [json.loads(printed) for printed in process.stdout]
        wait_until_free(real)
    assert printed[-1]["name"] == "AbortError"
    assert len(texts(printed)) == 5


def test_connections_that_are_cut_lose_and_double_nothing(speaking: Scripted) -> None:
    with Cuts(urlsplit(speaking.url).port or 0, cuts=3, longest=6_000, seed=3).running() as cuts:
        events = node.events("follow", url=cuts.url, location=begun(speaking, "words"))
        assert sum(cuts.made.values()) == 3
    assert texts(events) == WORDS
    assert events[-1]["type"] == "done"
    assert [event["type"] for event in events].count("resumed") >= 1


def test_follow_goes_on_after_an_event(speaking: Scripted) -> None:
    location = begun(speaking, "words")
    assert speaking.fake.received[-1].answered.wait(30)
    assert texts(node.events("follow", url=speaking.url, location=location, after=150)) == WORDS[150:]


def test_stop_frees_the_model(script: Scripted) -> None:
    script.fake.answer("silent", line("one"), Do.HANG)
    location = begun(script, "silent")
    assert node.events("stop", url=script.url, location=location) == []
    assert script.fake.received[-1].gone.wait(1)
    *_, thrown = node.events("follow", url=script.url, location=location)
    assert (thrown["type"], thrown["status"], thrown["code"]) == ("thrown", 404, "answer_not_found")


def test_errors_are_thrown_with_what_the_gateway_says(script: Scripted, guarded: Scripted) -> None:
    script.fake.answer("breaks", line("one"), b'{"error":"out of memory"}\n')
    *_, thrown = node.events("chat", url=script.url, model="nobody", messages=HELLO)
    assert (thrown["isOne"], thrown["status"], thrown["code"]) == (True, 404, "model_not_found")
    assert thrown["requestId"]
    *_, thrown = node.events("chat", url=script.url, model="breaks", messages=HELLO)
    assert thrown["isOne"]
    assert "out of memory" in thrown["message"]
    *_, thrown = node.events("chat", url=guarded.url, model="m", messages=HELLO)
    assert (thrown["isOne"], thrown["status"]) == (True, 401)


def test_a_limit_is_thrown_with_the_seconds_to_wait(guarded: Scripted) -> None:
    guarded.fake.answer("good", line("Hello"), DONE)
    key = guarded.keys["once-for-node"]
    events = node.events("chat", url=guarded.url, key=key, model="good", messages=HELLO)
    assert texts(events) == ["Hello"]
    assert events[0]["limits"]
    *_, thrown = node.events("chat", url=guarded.url, key=key, model="good", messages=HELLO)
    assert (thrown["status"], thrown["code"]) == (429, "rate_limited")
    assert 0 < thrown["retryAfter"] <= 60


def test_a_gateway_that_keeps_no_answers_is_enough(forgetful: Scripted) -> None:
    forgetful.fake.answer("good", line("Hello"), DONE)
    events = node.events("chat", url=forgetful.url, model="good", messages=HELLO)
    assert events[0]["location"] is None
    assert texts(events) == ["Hello"]

"""Who waits is told for what: a place in the queue, or a model that is loaded."""

from collections.abc import Callable, Iterator

import httpx
import pytest
from playwright.sync_api import expect

from tests.browser.chat import Chat
from tests.browser.stacks import Scripted
from tests.fakes.ollama import DONE, Do, line
from tests.processes import wait_until


@pytest.fixture
def taken(narrow: Scripted) -> Iterator[Scripted]:
    """The only slot has another client's answer until the test lets it go on."""
    narrow.fake.pause()
    narrow.fake.answer("good", line("Hello"), Do.WAIT, DONE)
    question = {"model": "good", "messages": [{"role": "user", "content": "hi"}]}
    with httpx.stream("POST", f"{narrow.url}/chat", json=question, timeout=60):
        wait_until(lambda: len(narrow.running()) == 1, 20, "the slot is taken")
        yield narrow


@pytest.fixture
def waiting(taken: Scripted, open_chat: Callable[[Scripted], Chat]) -> Chat:
    """A question that waits in the queue."""
    chat = open_chat(taken)
    chat.ask("Speak.", "good")
    wait_until(lambda: len(taken.waiting()) == 1, 20, "it waits")
    return chat


def test_the_place_in_the_queue_is_shown_until_it_is_its_turn(taken: Scripted, waiting: Chat) -> None:
    waiting.says("#status", r"queue.*\b1\b")
    taken.fake.go_on()
    waiting.ends()
    assert waiting.words() == ["Hello"]
    expect(waiting.one("#status")).not_to_contain_text("queue")


def test_stop_leaves_the_queue_at_once(taken: Scripted, waiting: Chat) -> None:
    waiting.one("#stop").click()
    wait_until(lambda: not taken.waiting(), 1, "it has left the queue")
    waiting.ends()


def test_a_reload_keeps_the_place_in_the_queue(taken: Scripted, waiting: Chat) -> None:
    waiting.says("#status", "queue")
    before = taken.waiting()
    waiting.page.reload()
    waiting.says("#status", "queue")
    assert [turn["request_id"] for turn in taken.waiting()] == [turn["request_id"] for turn in before]
    taken.fake.go_on()
    waiting.ends()
    assert waiting.words() == ["Hello"]


def test_a_model_that_is_loaded_is_shown_to_be(
    slow_to_load: Scripted, open_chat: Callable[[Scripted], Chat]
) -> None:
    slow_to_load.fake.answer("large", line("Hello"), DONE)
    chat = open_chat(slow_to_load)
    chat.ask("Speak.", "large")
    chat.says("#status", "load")
    chat.ends()
    assert chat.words() == ["Hello"]


def test_loaded_models_come_first_in_the_picker(
    script: Scripted, open_chat: Callable[[Scripted], Chat]
) -> None:
    script.fake.answer("aa-cold", line("x"), DONE)
    script.fake.answer("zz-loaded", line("x"), DONE)
    script.fake.loaded.append({"name": "zz-loaded", "model": "zz-loaded"})
    chat = open_chat(script)
    expect(chat.one("#model option").first).to_have_attribute("value", "zz-loaded")
    script.fake.loaded.clear()

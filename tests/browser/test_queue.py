"""Who waits is told for what: a place in the queue, or a model that is loaded."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx
from playwright.sync_api import expect

from tests.browser.chat import Chat
from tests.browser.stacks import Scripted
from tests.fakes.ollama import DONE, Do, line
from tests.processes import wait_until


@contextmanager
def somebody_elses(stack: Scripted) -> Iterator[None]:
    """The slot is taken by another client's answer."""
    question = {"model": "held", "messages": [{"role": "user", "content": "hi"}]}
    with httpx.stream("POST", f"{stack.url}/chat", json=question, timeout=60) as answer:
        wait_until(lambda: len(stack.running()) == 1, 20, "the slot is taken")
        assert answer.status_code == 200
        yield


def test_the_place_in_the_queue_is_shown_until_it_is_its_turn(
    narrow: Scripted, open_chat: Callable[[Scripted], Chat]
) -> None:
    narrow.fake.pause()
    narrow.fake.answer("held", line("x"), Do.WAIT, DONE)
    narrow.fake.answer("good", line("Hello"), DONE)
    chat = open_chat(narrow)
    with somebody_elses(narrow):
        chat.ask("Speak.", "good")
        chat.says("#status", r"(queue|wait)")
        chat.says("#status", r"\b1\b|first|next")
        assert len(narrow.waiting()) == 1
    narrow.fake.go_on()
    chat.ends()
    assert chat.words() == ["Hello"]
    expect(chat.one("#status")).not_to_contain_text("queue")


def test_stop_leaves_the_queue_within_a_second(
    narrow: Scripted, open_chat: Callable[[Scripted], Chat]
) -> None:
    narrow.fake.pause()
    narrow.fake.answer("held", line("x"), Do.WAIT, DONE)
    narrow.fake.answer("good", line("Hello"), DONE)
    chat = open_chat(narrow)
    with somebody_elses(narrow):
        chat.ask("Speak.", "good")
        wait_until(lambda: len(narrow.waiting()) == 1, 20, "it waits")
        chat.one("#stop").click()
        wait_until(lambda: not narrow.waiting(), 1, "it has left the queue")
        chat.ends()


def test_a_reload_keeps_the_place_in_the_queue(
    narrow: Scripted, open_chat: Callable[[Scripted], Chat]
) -> None:
    narrow.fake.pause()
    narrow.fake.answer("held", line("x"), Do.WAIT, DONE)
    narrow.fake.answer("good", line("Hello"), DONE)
    chat = open_chat(narrow)
    with somebody_elses(narrow):
        chat.ask("Speak.", "good")
        wait_until(lambda: len(narrow.waiting()) == 1, 20, "it waits")
        [before] = narrow.waiting()
        chat.page.reload()
        chat.says("#status", r"(queue|wait)")
        [after] = narrow.waiting()
        assert after["request_id"] == before["request_id"]
    chat.ends()
    assert chat.words() == ["Hello"]


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
    script.fake.loaded = [{"name": "zz-loaded", "model": "zz-loaded"}]
    chat = open_chat(script)
    expect(chat.one("#model option").first).to_have_attribute("value", "zz-loaded")
    script.fake.loaded = []

"""Keys: asked for when needed, kept for the tab, never in an address. What is left of limits is shown."""

import json
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.browser.chat import Chat
from tests.browser.stacks import Scripted
from tests.fakes.ollama import DONE, line


@pytest.fixture
def locked(guarded: Scripted, open_chat: Callable[[Scripted], Chat]) -> Chat:
    guarded.fake.answer("good", line("Hello"), DONE)
    return open_chat(guarded)


def answers(chat: Chat) -> None:
    chat.ask("Speak.", "good")
    chat.ends()
    assert chat.words() == ["Hello"]


def test_a_key_is_asked_for_and_then_works(locked: Chat, guarded: Scripted) -> None:
    locked.enter_key(guarded.keys["alice"])
    expect(locked.one("#key-dialog")).to_be_hidden()
    answers(locked)


def test_a_wrong_key_is_told_in_words_and_another_may_be_entered(locked: Chat, guarded: Scripted) -> None:
    locked.enter_key("sk-sluice-wrong")
    locked.says("#key-dialog", "(unknown|expired|not valid|invalid|wrong|refused)")
    locked.enter_key(guarded.keys["alice"])
    answers(locked)


def test_the_key_is_in_no_address_and_only_in_this_tab(page: Page, guarded: Scripted) -> None:
    guarded.fake.answer("good", line("Hello"), DONE)
    key, asked = guarded.keys["alice"], []
    page.on("request", lambda request: asked.append(request.url))
    chat = Chat(page, guarded.url).open()
    chat.enter_key(key)
    answers(chat)
    page.reload()
    answers(chat)
    assert asked
    assert [url for url in asked if key in url] == []
    assert key not in page.url
    assert key not in json.dumps(page.evaluate("({...localStorage})"))
    assert page.evaluate("document.cookie") == ""
    assert key not in json.dumps(page.context.storage_state(indexed_db=True))
    other = Chat(page.context.new_page(), guarded.url).open()
    expect(other.one("#key-dialog")).to_be_visible()


def test_a_key_that_ends_is_asked_for_again_and_the_question_is_not_lost(
    locked: Chat, guarded: Scripted
) -> None:
    locked.enter_key(guarded.keys["alice"])
    locked.choose("good")
    locked.page.evaluate(
        "(key) => Object.keys(sessionStorage).forEach((name) => "
        "sessionStorage.setItem(name, sessionStorage.getItem(name).replaceAll(key, 'sk-sluice-gone')))",
        guarded.keys["alice"],
    )
    locked.page.reload()
    locked.enter_key(guarded.keys["bob"])
    answers(locked)


def test_a_limit_is_told_in_words_with_the_time_after_which_to_ask_again(
    locked: Chat, guarded: Scripted
) -> None:
    locked.enter_key(guarded.keys["once"])
    answers(locked)
    locked.one("#message").fill("Once more.")
    locked.one("#send").click()
    locked.says("#error", r"limit")
    locked.says("#error", r"\d+\s*(seconds?|s\b|minutes?)")


def test_what_is_left_of_the_limits_is_shown(locked: Chat, guarded: Scripted) -> None:
    locked.enter_key(guarded.keys["counted"])
    answers(locked)
    locked.says("#limits", r"\b49\b")
    locked.says("#limits", "requests")


@pytest.mark.parametrize(("name", "sees"), [("admin", True), ("alice", False)])
def test_only_an_admin_sees_models_and_servers(
    locked: Chat, guarded: Scripted, name: str, sees: bool
) -> None:
    locked.enter_key(guarded.keys[name])
    answers(locked)
    expect(locked.one("#admin")).to_be_visible(visible=sees)

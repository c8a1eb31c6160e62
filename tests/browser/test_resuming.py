"""A reload, a lost connection or another tab lose and double nothing of an answer."""

from collections.abc import Callable
from urllib.parse import urlsplit

import httpx
import pytest
from playwright.sync_api import BrowserContext, expect

from tests.browser.chat import Chat
from tests.browser.stacks import Scripted
from tests.fakes.cuts import Cuts
from tests.fakes.ollama import DONE, Step, line
from tests.integration.stacks import MODEL, Running
from tests.processes import wait_until

WORDS = [f"word{number}" for number in range(300)]


def spoken(pause: float) -> list[Step]:
    return [step for word in WORDS for step in (line(f"{word} "), pause)]


@pytest.fixture
def slowly(script: Scripted) -> Scripted:
    """Its model `words` takes six seconds for WORDS."""
    script.fake.answer("words", *spoken(0.02), DONE)
    return script


def has_words(chat: Chat, number: int) -> None:
    wait_until(lambda: len(chat.words()) >= number, 30, f"{number} words are visible")


def test_a_reload_in_mid_answer_loses_and_doubles_nothing(
    slowly: Scripted, open_chat: Callable[[Scripted], Chat]
) -> None:
    chat = open_chat(slowly)
    chat.ask("Speak.", "words")
    for number in (30, 80, 130):
        has_words(chat, number)
        chat.page.reload()
    has_words(chat, 140)
    assert slowly.fake.answering == 1
    chat.ends()
    assert chat.words() == WORDS
    expect(chat.answers).to_have_count(1)


def test_a_reload_before_the_first_token_loses_nothing(
    slowly: Scripted, open_chat: Callable[[Scripted], Chat]
) -> None:
    slowly.fake.answer("late", 2.0, *spoken(0.0), DONE)
    chat = open_chat(slowly)
    chat.ask("Speak.", "late")
    kept = "JSON.stringify({...localStorage}).includes('/chat/')"
    wait_until(lambda: chat.page.evaluate(kept), 20, "the page knows where to read it on")
    chat.page.reload()
    has_words(chat, 1)
    chat.ends()
    assert chat.words() == WORDS


def test_offline_and_online_in_mid_answer_lose_and_double_nothing(
    slowly: Scripted, context: BrowserContext
) -> None:
    with Cuts(urlsplit(slowly.url).port or 0, cuts=0, longest=1, seed=0).running() as network:
        chat = Chat(context.new_page(), network.url).open()
        chat.ask("Speak.", "words")
        for number in (30, 130):
            has_words(chat, number)
            # Chromium only refuses new requests, so what is there is cut.
            context.set_offline(True)
            network.cut_all()
            chat.says("#status", "(reconnect|connection|offline)")
            context.set_offline(False)
        chat.ends()
        assert chat.words() == WORDS
        expect(chat.one("#error")).to_be_hidden()
        context.close()


def test_connections_that_are_cut_at_random_places_lose_and_double_nothing(
    slowly: Scripted, context: BrowserContext
) -> None:
    with Cuts(urlsplit(slowly.url).port or 0, cuts=3, longest=8_000, seed=16).running() as cuts:
        chat = Chat(context.new_page(), cuts.url).open()
        chat.ask("Speak.", "words")
        has_words(chat, 10)
        # The POST is not cut, which a reload ends.
        chat.page.reload()
        chat.ends()
        assert sum(cuts.made.values()) == 3
        assert chat.words() == WORDS
        context.close()


def test_the_real_models_answer_is_the_same_with_and_without_a_reload(chat: Chat, real: Running) -> None:
    question = {
        "model": MODEL,
        "messages": [{"role": "user", "content": "Tell a long story about a lighthouse keeper."}],
        "options": {"temperature": 0, "seed": 7, "num_predict": 200},
        "stream": False,
    }
    told = httpx.post(f"{real.url}/api/chat", json=question, timeout=120).json()["message"]["content"]
    chat.one("#temperature").evaluate("(field) => field.closest('details')?.setAttribute('open', '')")
    chat.one("#temperature").fill("0")
    chat.one("#num_predict").fill("200")
    chat.ask("Tell a long story about a lighthouse keeper.", MODEL)
    has_words(chat, 20)
    chat.page.reload()
    has_words(chat, 40)
    chat.ends()
    assert chat.words() == told.split()


def test_two_tabs_have_their_own_answers_at_the_same_time(slowly: Scripted, context: BrowserContext) -> None:
    slowly.fake.answer(
        "others", *(step for word in reversed(WORDS) for step in (line(f"{word} "), 0.02)), DONE
    )
    one, other = (Chat(context.new_page(), slowly.url).open() for _ in range(2))
    one.ask("The first tab's.", "words")
    other.ask("The second tab's.", "others")
    has_words(one, 20)
    has_words(other, 20)
    one.page.reload()
    for tab in (one, other):
        tab.ends()
    assert one.words() == WORDS
    assert other.words() == WORDS[::-1]
    # Both conversations are kept, whichever tab wrote last.
    third = Chat(context.new_page(), slowly.url).open()
    for title in ("The first tab's.", "The second tab's."):
        expect(third.one("#conversations").get_by_text(title)).to_have_count(1)


def test_a_tab_that_is_closed_for_good_frees_the_model(
    slowly: Scripted, open_chat: Callable[[Scripted], Chat]
) -> None:
    """After the time for which the page asks to resume, which the gateway limits here."""
    chat = open_chat(slowly)
    chat.ask("Speak.", "words")
    has_words(chat, 10)
    chat.page.close()
    wait_until(slowly.is_idle, 60, "the model is free")

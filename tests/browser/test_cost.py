"""An answer costs the browser little."""

import time
from collections.abc import Callable

from playwright.sync_api import Browser

from tests.browser.chat import Chat
from tests.browser.stacks import Scripted
from tests.fakes.ollama import DONE, line

TOKENS, A_SECOND = 2_000, 80


def renderer_seconds(browser: Browser) -> float:
    """The processor's time of all renderers so far."""
    session = browser.new_browser_cdp_session()
    processes = session.send("SystemInfo.getProcessInfo")["processInfo"]
    session.detach()
    return sum(float(one["cpuTime"]) for one in processes if one["type"] == "renderer")


def test_an_answer_of_2000_tokens_costs_under_a_tenth_of_a_core(
    browser: Browser, script: Scripted, open_chat: Callable[[Scripted], Chat]
) -> None:
    words = [f"word{number} " if number % 20 else f"word{number}.\n\n" for number in range(TOKENS)]
    script.fake.answer("words", *(step for word in words for step in (line(word), 1 / A_SECOND)), DONE)
    chat = open_chat(script)
    chat.choose("words")
    before, began = renderer_seconds(browser), time.monotonic()
    chat.ask("Speak.")
    chat.page.locator("#stop").wait_for(state="hidden", timeout=120_000)
    spent, took = renderer_seconds(browser) - before, time.monotonic() - began
    print(f"{spent:.2f} s of the processor in {took:.1f} s: {spent / took:.1%} of a core")
    assert len(chat.words()) == TOKENS
    assert took > TOKENS / A_SECOND
    assert spent / took < 0.1

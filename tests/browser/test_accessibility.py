"""The page can be used by everybody: axe finds nothing, and the keyboard is enough."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from tests.browser.chat import Chat
from tests.browser.stacks import Scripted
from tests.fakes.ollama import DONE, Do, line
from tests.processes import wait_until

ANSWER = "Here is a list:\n\n* one\n* two\n\n```python\nprint('code')\n```\n\nand **that** is all."
LOOKS: dict[str, dict[str, Any]] = {
    "light": {"color_scheme": "light"},
    "dark": {"color_scheme": "dark"},
    "phone": {"color_scheme": "light", "viewport": {"width": 360, "height": 740}},
    "dark phone": {"color_scheme": "dark", "viewport": {"width": 360, "height": 740}},
}


@pytest.fixture(params=LOOKS)
def look(request: pytest.FixtureRequest, browser: Browser) -> Iterator[Page]:
    with browser.new_context(**LOOKS[request.param]) as context:
        context.set_default_timeout(20_000)
        yield context.new_page()


def problems(page: Page) -> list[str]:
    """What axe finds, each with the elements."""
    found = Axe().run(page, options={"resultTypes": ["violations"]}).response["violations"]
    return [f"{one['id']}: {one['help']}: {[node['html'][:200] for node in one['nodes']]}" for one in found]


def test_axe_finds_nothing_on_an_empty_page_and_after_an_answer(look: Page, script: Scripted) -> None:
    script.fake.answer("good", line(ANSWER), DONE)
    chat = Chat(look, script.url).open()
    chat.choose("good")
    assert problems(look) == []
    chat.ask("Speak.")
    chat.ends()
    assert problems(look) == []


def test_axe_finds_nothing_while_an_answer_is_generated_and_after_an_error(
    look: Page, script: Scripted
) -> None:
    script.fake.answer("silent", line("one"), Do.HANG)
    script.fake.answer("fails", b'{"error":"out of memory"}\n')
    chat = Chat(look, script.url).open()
    chat.ask("Speak.", "silent")
    chat.begins()
    assert problems(look) == []
    chat.one("#stop").click()
    chat.ends()
    chat.ask("Speak.", "fails")
    expect(chat.one("#error")).to_be_visible()
    assert problems(look) == []


def test_axe_finds_nothing_while_a_key_is_asked_for(look: Page, guarded: Scripted) -> None:
    chat = Chat(look, guarded.url).open()
    expect(chat.one("#key-dialog")).to_be_visible()
    assert problems(look) == []


def test_axe_finds_nothing_with_everything_unfolded(look: Page, script: Scripted) -> None:
    script.fake.answer("good", line(ANSWER), DONE)
    chat = Chat(look, script.url).open()
    chat.ask("Speak.", "good")
    chat.ends()
    look.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    assert problems(look) == []


def test_the_page_is_as_wide_as_the_phone(browser: Browser, script: Scripted) -> None:
    long = "a" * 400
    script.fake.answer("good", line(f"{ANSWER}\n\n{long}\n\n```\n{long}\n```"), DONE)
    with browser.new_context(viewport={"width": 320, "height": 640}, has_touch=True) as context:
        chat = Chat(context.new_page(), script.url).open()
        for question in ("Speak.", "b" * 400):
            chat.ask(question, "good")
            chat.ends()
        chat.page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
        width = "document.documentElement.scrollWidth"
        assert chat.page.evaluate(width) == 320


def focused(page: Page) -> str:
    return str(page.evaluate("document.activeElement.id || document.activeElement.className"))


def tab_to(page: Page, name: str) -> None:
    for _ in range(60):
        if name in focused(page).split():
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"Tab does not reach {name}")


def test_the_keyboard_is_enough(script: Scripted, open_chat: Callable[[Scripted], Chat]) -> None:
    script.fake.answer("aa-good", line(ANSWER), DONE)
    script.fake.answer("silent", line("one"), Do.HANG)
    chat = open_chat(script)
    page = chat.page
    expect(chat.one('#model option[value="silent"]')).to_be_attached()
    tab_to(page, "model")
    page.keyboard.type("aa-good")
    tab_to(page, "message")
    page.keyboard.type("Speak.")
    page.keyboard.press("Enter")
    expect(chat.answers).to_have_count(1)
    chat.ends()
    for name in ("copy", "edit", "again", "new", "send"):
        tab_to(page, name)
    tab_to(page, "model")
    page.keyboard.type("silent")
    tab_to(page, "message")
    page.keyboard.type("Once more.")
    page.keyboard.press("Enter")
    wait_until(lambda: chat.words() == ["one"], 20, "the answer begins")
    tab_to(page, "stop")
    page.keyboard.press("Enter")
    assert script.fake.received[-1].gone.wait(5)
    chat.ends()


def test_every_focused_control_can_be_seen(script: Scripted, open_chat: Callable[[Scripted], Chat]) -> None:
    script.fake.answer("good", line(ANSWER), DONE)
    chat = open_chat(script)
    chat.ask("Speak.", "good")
    chat.ends()
    for _ in range(40):
        chat.page.keyboard.press("Tab")
        shown = chat.page.evaluate(
            """() => {
                const one = document.activeElement, style = getComputedStyle(one);
                return one === document.body || style.outlineStyle !== "none" || style.boxShadow !== "none";
            }"""
        )
        assert shown, focused(chat.page)


def test_a_screen_reader_is_told_the_end_and_not_every_token(
    script: Scripted, open_chat: Callable[[Scripted], Chat]
) -> None:
    words = [f"word{number} " for number in range(200)]
    script.fake.answer("words", *(step for word in words for step in (line(word), 0.01)), DONE)
    chat = open_chat(script)
    expect(chat.one("#conversation")).to_have_role("log")
    chat.page.evaluate(
        """() => {
            window.told = [];
            const all = "[aria-live], [role=status], [role=alert], [role=log], output";
            for (const live of document.querySelectorAll(all)) {
                if (live.ariaLive === "off" || live.ariaBusy === "true") continue;
                new MutationObserver(() => window.told.push(live.textContent))
                    .observe(live, {childList: true, characterData: true, subtree: true});
            }
        }"""
    )
    expect(chat.one("#conversation")).to_have_attribute("aria-live", "off")
    chat.ask("Speak.", "words")
    chat.ends()
    told = chat.page.evaluate("told")
    assert 1 <= len(told) < 40
    assert any("word199" in text for text in told)

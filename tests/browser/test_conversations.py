"""Conversations: kept in the browser only, edited, asked again, exported, and with options."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.chat import Chat
from tests.browser.stacks import Scripted
from tests.fakes.ollama import DONE, line
from tests.processes import wait_until

CODE = "def f():\n    return '<b>'\n"


@pytest.fixture
def chat(script: Scripted, open_chat: Callable[[Scripted], Chat]) -> Chat:
    script.fake.answer("good", line("Hello"), DONE)
    script.fake.answer("code", line(f"Before\n\n```python\n{CODE}"), line("```\n\nafter"), DONE)
    return open_chat(script)


def asked(script: Scripted) -> dict[str, Any]:
    """The request that the model server has received last."""
    body: dict[str, Any] = json.loads(script.fake.received[-1].body)
    return body


def contents(script: Scripted) -> list[str]:
    return [message["content"] for message in asked(script)["messages"]]


def unfold(chat: Chat) -> None:
    chat.page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")


def test_a_conversation_goes_on_with_what_was_said(chat: Chat, script: Scripted) -> None:
    for question in ("First.", "Second."):
        chat.ask(question, "good")
        chat.ends()
    assert contents(script) == ["First.", "Hello", "Second."]


def test_the_system_prompt_and_the_options_are_sent(chat: Chat, script: Scripted) -> None:
    unfold(chat)
    chat.one("#system").fill("Be brief.")
    chat.one("#temperature").fill("0.3")
    chat.one("#num_predict").fill("17")
    chat.ask("Speak.", "good")
    chat.ends()
    assert asked(script)["messages"][0] == {"role": "system", "content": "Be brief."}
    assert asked(script)["options"]["temperature"] == 0.3
    assert asked(script)["options"]["num_predict"] == 17


def test_options_that_are_left_empty_are_the_models_own(chat: Chat, script: Scripted) -> None:
    chat.ask("Speak.", "good")
    chat.ends()
    assert not {"temperature", "num_predict"} & (asked(script).get("options") or {}).keys()
    assert asked(script)["messages"] == [{"role": "user", "content": "Speak."}]


def test_code_is_copied_as_it_was_written(chat: Chat) -> None:
    chat.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    chat.ask("Speak.", "code")
    chat.ends()
    chat.one(".code button.copy").click()
    copied = "navigator.clipboard.readText()"
    wait_until(lambda: chat.page.evaluate(copied).strip() == CODE.strip(), 10, "the code is copied")


def test_a_question_is_edited_and_asked_again(chat: Chat, script: Scripted) -> None:
    for question in ("First.", "Second."):
        chat.ask(question, "good")
        chat.ends()
    chat.one(".edit").first.click()
    chat.page.keyboard.press("ControlOrMeta+A")
    chat.page.keyboard.type("Edited.")
    chat.page.keyboard.press("Enter")
    wait_until(lambda: contents(script) == ["Edited."], 20, "it is asked again, without what followed")
    chat.ends()
    expect(chat.answers).to_have_count(1)
    expect(chat.one("#conversation")).not_to_contain_text("Second.")


def test_an_answer_is_asked_for_again(chat: Chat, script: Scripted) -> None:
    chat.ask("First.", "good")
    chat.ends()
    script.fake.answer("good", line("Better"), DONE)
    chat.one(".again").last.click()
    wait_until(lambda: chat.words() == ["Better"], 20, "the other answer is visible")
    chat.ends()
    expect(chat.answers).to_have_count(1)
    assert contents(script) == ["First."]


def test_several_conversations_are_kept_in_the_browser_only(chat: Chat, script: Scripted) -> None:
    chat.ask("About lighthouses.", "good")
    chat.ends()
    chat.one("#new").click()
    expect(chat.answers).to_have_count(0)
    chat.ask("About bridges.", "good")
    chat.ends()
    assert contents(script) == ["About bridges."]
    chat.page.reload()
    for title in ("About lighthouses.", "About bridges."):
        expect(chat.one("#conversations").get_by_text(title)).to_have_count(1)
    chat.one("#conversations").get_by_text("About lighthouses.").click()
    expect(chat.one("#conversation")).to_contain_text("About lighthouses.")
    chat.ask("And then?", "good")
    chat.ends()
    assert contents(script) == ["About lighthouses.", "Hello", "And then?"]


def exported(page: Page, selector: str, folder: Path) -> str:
    with page.expect_download() as download:
        page.locator(selector).click()
    path: Path = folder / download.value.suggested_filename
    download.value.save_as(path)
    return path.read_text()


def test_a_conversation_is_exported_as_json(chat: Chat, tmp_path: Path) -> None:
    chat.ask("Speak.", "code")
    chat.ends()
    unfold(chat)
    text = exported(chat.page, "#export-json", tmp_path)
    messages = json.loads(text)["messages"]
    assert [(each["role"], each["content"]) for each in messages] == [
        ("user", "Speak."),
        ("assistant", f"Before\n\n```python\n{CODE}```\n\nafter"),
    ]
    assert next(tmp_path.iterdir()).suffix == ".json"


def test_a_conversation_is_exported_as_markdown(chat: Chat, tmp_path: Path) -> None:
    chat.ask("Speak.", "code")
    chat.ends()
    unfold(chat)
    text = exported(chat.page, "#export-markdown", tmp_path)
    assert "Speak." in text
    assert f"Before\n\n```python\n{CODE}```\n\nafter" in text
    assert next(tmp_path.iterdir()).suffix == ".md"


def test_what_was_typed_is_sent_with_enter_and_broken_with_shift_enter(chat: Chat, script: Scripted) -> None:
    chat.choose("good")
    chat.one("#message").focus()
    chat.page.keyboard.type("One")
    chat.page.keyboard.press("Shift+Enter")
    chat.page.keyboard.type("two")
    chat.page.keyboard.press("Enter")
    expect(chat.answers).to_have_count(1)
    chat.ends()
    assert contents(script) == ["One\ntwo"]

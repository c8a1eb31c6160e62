"""An answer is shown as it is generated, with what only the gateway knows, and can be stopped."""

from collections.abc import Callable

from playwright.sync_api import expect

from tests.browser.chat import Chat
from tests.browser.stacks import SERVER, Scripted
from tests.fakes.ollama import DONE, Do, line
from tests.integration.stacks import MODEL, Running, wait_until_free
from tests.processes import wait_until

# Longer than a test, unless it is stopped.
ENDLESS = "Count from one to ten thousand, in words, without leaving out any."


def test_the_first_token_is_visible_while_the_model_still_generates(chat: Chat, real: Running) -> None:
    chat.ask(ENDLESS, MODEL)
    chat.begins()
    assert real.busy_slots() == 1
    chat.one("#stop").click()
    chat.ends()


def test_each_piece_is_visible_before_the_next_is_generated(
    script: Scripted, open_chat: Callable[[Scripted], Chat]
) -> None:
    script.fake.pause()
    script.fake.answer("pieces", line("one "), Do.WAIT, line("two"), DONE)
    chat = open_chat(script)
    chat.ask("Speak.", "pieces")
    wait_until(lambda: chat.text().strip() == "one", 20, "the first piece is visible")
    script.fake.go_on()
    chat.ends()
    assert chat.text().strip() == "one two"


def test_stop_frees_the_slot_within_a_second_and_keeps_what_there_is(chat: Chat, real: Running) -> None:
    chat.ask(ENDLESS, MODEL)
    chat.begins()
    wait_until(lambda: real.busy_slots() == 1, 20, "the model generates")
    chat.one("#stop").click()
    wait_until_free(real)
    chat.ends()
    assert chat.words()


def test_stop_works_before_the_first_token(script: Scripted, open_chat: Callable[[Scripted], Chat]) -> None:
    script.fake.answer("silent", Do.HANG)
    chat = open_chat(script)
    chat.ask("Speak.", "silent")
    wait_until(lambda: len(script.running()) == 1, 20, "the model works on it")
    chat.one("#stop").click()
    assert script.fake.received[-1].gone.wait(1)
    wait_until(lambda: not script.running(), 1, "the slot is free")
    chat.ends()


def test_the_time_to_the_first_token_and_the_tokens_a_second_are_shown(chat: Chat) -> None:
    chat.one("#num_predict").evaluate("(field) => field.closest('details')?.setAttribute('open', '')")
    chat.one("#num_predict").fill("40")
    chat.ask("Why is the sky blue?", MODEL)
    chat.ends()
    chat.says("#figures", r"\d\s*(ms|s)\b")
    chat.says("#figures", r"\d[\d.,]*\s*(tokens?|tok)\s*(/|a|per)\s*s")


def test_the_model_server_that_answered_is_shown(
    script: Scripted, open_chat: Callable[[Scripted], Chat]
) -> None:
    script.fake.answer("named", line("Hello"), 0.3, DONE)
    chat = open_chat(script)
    chat.ask("Speak.", "named")
    chat.ends()
    wait_until(
        lambda: SERVER in chat.one("body").inner_text(), 20, "the server's name is somewhere on the page"
    )


def test_a_failure_of_the_model_server_is_told_in_words(
    script: Scripted, open_chat: Callable[[Scripted], Chat]
) -> None:
    script.fake.answer("breaks", line("one "), b'{"error":"the runner has run out of memory"}\n')
    chat = open_chat(script)
    chat.ask("Speak.", "breaks")
    chat.ends()
    chat.says("#error", "run out of memory")
    assert chat.words() == ["one"]
    expect(chat.one("#error")).to_have_role("alert")


def test_the_gateway_that_is_gone_is_told_in_words_with_what_to_do(
    script: Scripted, open_chat: Callable[[Scripted], Chat]
) -> None:
    script.fake.answer("good", line("one "), DONE)
    chat = open_chat(script)
    chat.choose("good")
    chat.page.context.set_offline(True)
    chat.ask("Speak.")
    chat.says("#error", "(reach|connect|network|offline)")
    chat.page.context.set_offline(False)
    chat.ask("Speak.")
    chat.ends()
    assert chat.words() == ["one"]

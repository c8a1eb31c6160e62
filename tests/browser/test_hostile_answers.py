"""Whatever a model says is shown as text: it runs nothing, makes no element and stops nothing."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Page

from tests.browser.chat import Chat
from tests.browser.stacks import Scripted
from tests.fakes.ollama import DONE, line

# Each sets window.harmed if it is parsed as HTML or run.
ATTACKS = [
    "<img src=x onerror=\"window.harmed='img'\">",
    "</script><script>window.harmed='script'</script>",
    "<svg onload=\"window.harmed='svg'\"></svg>",
    "<iframe srcdoc=\"<script>parent.harmed='iframe'</script>\"></iframe>",
    "<a href=\"javascript:window.harmed='link'\">click</a>",
    "[click](javascript:window.harmed='markdown')",
    '<style>* { display: none !important }</style><link rel=stylesheet href="//evil.example">',
    "&lt;img src=x onerror=alert(1)&gt; &amp;",
    "<!-- <b>--><details open ontoggle=\"window.harmed='details'\">",
    "{{constructor.constructor('window.harmed=1')()}}",
]
MARKS = "\u202eright to left\u202c \u2066isolated\u2069 \u200f\u200e שלום \ufeff\u0000\ud7ff"
HARMED = "window.harmed"
# In seconds. What takes longer is noticed by who types.
LONGEST_TASK = 0.5
MADE = "img, script, svg, iframe, a[href^='javascript'], style, link, details, b"


@pytest.fixture
def chat(script: Scripted, open_chat: Callable[[Scripted], Chat]) -> Chat:
    script.fake.answer("hostile", *(line(f"{attack}\n\n") for attack in ATTACKS), DONE)
    return open_chat(script)


def elements(chat: Chat) -> int:
    return int(chat.answer.locator(".text").locator(MADE).count())


def squeezed(text: str) -> str:
    return "".join(text.split())


def test_html_is_shown_as_text(chat: Chat) -> None:
    chat.ask("Speak.", "hostile")
    chat.ends()
    assert squeezed(chat.text()) == squeezed("".join(ATTACKS))
    assert elements(chat) == 0
    assert chat.page.evaluate(HARMED) is None


def test_html_in_pieces_of_a_character_is_shown_as_text(chat: Chat, script: Scripted) -> None:
    script.fake.answer("letters", *(line(letter) for letter in "".join(ATTACKS)), DONE)
    chat.open()
    chat.ask("Speak.", "letters")
    chat.ends()
    assert squeezed(chat.text()) == squeezed("".join(ATTACKS))
    assert elements(chat) == 0
    assert chat.page.evaluate(HARMED) is None


def test_html_in_a_code_block_and_in_its_language_is_shown_as_text(chat: Chat, script: Scripted) -> None:
    for number, attack in enumerate(ATTACKS):
        script.fake.answer(f"code{number}", line(f"```{attack}\n{attack}\n```\n"), DONE)
    chat.open()
    for number, attack in enumerate(ATTACKS):
        chat.ask("Speak.", f"code{number}")
        chat.ends()
        assert squeezed(attack) in squeezed(chat.text())
        assert elements(chat) == 0
    assert chat.page.evaluate(HARMED) is None


def test_html_in_a_question_a_models_name_and_an_error_is_shown_as_text(chat: Chat, script: Scripted) -> None:
    for attack in ATTACKS:
        chat.ask(attack, "hostile")
        chat.ends()
    script.fake.answer("fails", b'{"error":"<img src=x onerror=window.harmed=1>"}\n')
    script.fake.models = [{"id": ATTACKS[0]}]
    chat.page.reload()
    chat.ask("Speak.", "fails")
    chat.ends()
    chat.says("#error", "<img")
    script.fake.models = []
    assert chat.one("#conversation, #conversations, #error, #model").locator(MADE).count() == 0
    assert chat.page.evaluate(HARMED) is None


def test_marks_for_the_direction_of_text_do_not_reach_beyond_the_answer(chat: Chat, script: Scripted) -> None:
    script.fake.answer("marks", line(f"{MARKS}\u202e\u202e"), DONE)
    chat.open()
    chat.ask(f"{MARKS}\u202e", "marks")
    chat.ends()
    assert squeezed(MARKS) in squeezed(chat.text())
    isolated = "(element) => getComputedStyle(element).unicodeBidi"
    for selector in (".answer .text", ".question .text", "#conversations button.open"):
        found = chat.one(selector).last.evaluate(isolated)
        assert found in ("isolate", "plaintext", "isolate-override"), selector


@pytest.mark.parametrize(
    "piece",
    ["a" * 1_000, "word " * 200, "```\ncode\n```\n" * 80, "* " * 500, "`" * 1_000, "\n" * 1_000],
    ids=["one word", "words", "code blocks", "stars", "backticks", "empty lines"],
)
def test_a_megabyte_leaves_the_page_responsive(chat: Chat, script: Scripted, piece: str) -> None:
    script.fake.answer("large", *[line(piece)] * (1_000_000 // len(piece)), line("end"), DONE)
    chat.open()
    with longest_task(chat.page) as longest:
        chat.ask("Speak.", "large")
        chat.one("#message").fill("typed meanwhile")
        chat.ends()
    print(f"the longest task took {longest[0]:.2f} s of the processor")
    assert chat.text().rstrip().endswith("end")
    assert chat.one("#message").input_value() == "typed meanwhile"
    assert longest[0] < LONGEST_TASK


@contextmanager
def longest_task(page: Page) -> Iterator[list[float]]:
    """Seconds of the processor that the page's longest task takes, during which it cannot react."""
    found: list[float] = []
    browser = page.context.browser
    assert browser
    browser.start_tracing(page=page, categories=["toplevel"])
    yield found
    events = json.loads(browser.stop_tracing())["traceEvents"]
    found.append(max(event.get("tdur", 0) for event in events if event["name"].endswith("RunTask")) / 1e6)

"""Chromium's own EventSource reads answers to their end over connections that are cut.

`make event-source` reads more of them: ANSWERS=500.
"""

import json
import os
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page

from tests.browser.stacks import Scripted
from tests.fakes.cuts import Cuts
from tests.fakes.ollama import DONE, line
from tests.processes import wait_until

ANSWERS = int(os.environ.get("ANSWERS", "40"))
CUTS = 3
# A browser opens six connections to a server, in each profile.
PROFILES, AT_ONCE = 4, 5
WORDS = [f"word{number} " for number in range(80)]
# The events of an answer are 8 kB, so that all of the cuts are within it.
LONGEST = 2_000

READ = """
(prefer) => fetch("/chat", {
    method: "POST",
    headers: {"Content-Type": "application/json", Prefer: prefer},
    body: JSON.stringify({model: "words", messages: [{role: "user", content: "Speak."}]}),
}).then(async (accepted) => {
    const {location} = await accepted.json();
    const answer = {status: accepted.status, location, ids: [], data: [], errors: 0, opened: 0};
    (window.answers ??= []).push(answer);
    const source = new EventSource(location + "?after=0");
    source.onopen = () => answer.opened++;
    source.onmessage = (event) => { answer.ids.push(event.lastEventId); answer.data.push(event.data); };
    source.onerror = () => { answer.errors++; answer.state = source.readyState; };
})
"""


@pytest.fixture
def cuts(script: Scripted) -> Iterator[Cuts]:
    script.fake.answer("words", *(step for word in WORDS for step in (line(word), 0.01)), DONE)
    seed = time.time_ns()
    print(f"the cuts' seed is {seed}")
    with Cuts(urlsplit(script.url).port or 0, CUTS, LONGEST, seed).running() as running:
        yield running


@pytest.fixture
def profiles(browser: Browser, cuts: Cuts) -> Iterator[list[Page]]:
    contexts = [browser.new_context() for _ in range(PROFILES)]
    pages = [context.new_page() for context in contexts]
    for page in pages:
        # Any document whose content policy lets it ask this server.
        page.goto(f"{cuts.url}/page/style.css")
    yield pages
    for context in contexts:
        context.close()


def read(page: Page, number: int) -> None:
    """Starts to read `number` answers more."""
    page.evaluate(
        f"(number) => Promise.all(Array.from({{length: number}}, () => ({READ})('respond-async')))", number
    )


def ended(pages: list[Page]) -> bool:
    return all(
        page.evaluate("answers.every((answer) => answer.state === EventSource.CLOSED)") for page in pages
    )


def test_every_answer_is_read_to_its_end_over_three_cuts_of_its_connection(
    cuts: Cuts, profiles: list[Page]
) -> None:
    began = time.monotonic()
    for first in range(0, ANSWERS, PROFILES * AT_ONCE):
        asked = range(first, min(first + PROFILES * AT_ONCE, ANSWERS))
        for number, page in enumerate(profiles):
            read(page, len(asked[number::PROFILES]))
        wait_until(lambda: ended(profiles), 60, "EventSource is closed by 204")
    answers: list[dict[str, Any]] = [one for page in profiles for one in page.evaluate("answers")]
    took = time.monotonic() - began
    print(f"{len(answers)} answers, {sum(cuts.made.values())} cuts, {took:.0f} s")
    assert len(answers) == ANSWERS
    for answer in answers:
        assert answer["ids"] == [str(number) for number in range(1, len(WORDS) + 2)]
        lines = [json.loads(data) for data in answer["data"]]
        assert [each["message"]["content"] for each in lines] == [*WORDS, ""]
        assert [each["done"] for each in lines] == [False] * len(WORDS) + [True]
        # Those that were cut, the one that read the end, and the one that got 204.
        assert cuts.made[answer["location"]] == CUTS
        assert cuts.requests[answer["location"]] >= CUTS + 2


def test_event_source_does_not_come_back_after_the_end(cuts: Cuts, profiles: list[Page]) -> None:
    first, *_ = profiles
    read(first, 1)
    wait_until(lambda: ended([first]), 60, "EventSource is closed by 204")
    path = first.evaluate("answers[0].location")
    asked = cuts.requests[path]
    # Another answer takes longer than EventSource waits before it comes back.
    read(first, 1)
    wait_until(lambda: ended([first]), 60, "EventSource is closed by 204")
    assert cuts.requests[path] == asked

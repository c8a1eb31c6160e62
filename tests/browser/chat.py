"""The page as a person sees and uses it."""

import re
from dataclasses import dataclass

from playwright.sync_api import Locator, Page, expect

from tests.processes import wait_until


@dataclass
class Chat:
    page: Page
    url: str

    def open(self) -> "Chat":
        self.page.goto(self.url)
        return self

    def one(self, selector: str) -> Locator:
        return self.page.locator(selector)

    def choose(self, model: str) -> None:
        expect(self.one(f'#model option[value="{model}"]')).to_be_attached()
        self.one("#model").select_option(model)

    def ask(self, text: str, model: str = "") -> None:
        if model:
            self.choose(model)
        self.one("#message").fill(text)
        self.one("#send").click()

    def enter_key(self, key: str) -> None:
        expect(self.one("#key-dialog")).to_be_visible()
        self.one("#key").fill(key)
        self.one("#key").press("Enter")

    @property
    def answers(self) -> Locator:
        return self.one("article.answer")

    @property
    def answer(self) -> Locator:
        """The newest one."""
        return self.answers.last

    def text(self) -> str:
        """The newest answer's, as it is shown."""
        return self.answer.locator(".text").text_content() or ""

    def words(self) -> list[str]:
        return self.text().split()

    def begins(self) -> None:
        wait_until(self.words, 30, "the answer begins")

    def ends(self, seconds: float = 60) -> None:
        """Waits until nothing is being answered any more."""
        expect(self.one("#stop")).to_be_hidden(timeout=seconds * 1000)
        expect(self.one("#send")).to_be_visible()

    def says(self, selector: str, pattern: str, seconds: float = 20) -> None:
        """Waits until an element shows text that matches."""
        shown = re.compile(pattern, re.IGNORECASE)
        expect(self.one(selector)).to_have_text(shown, timeout=seconds * 1000)

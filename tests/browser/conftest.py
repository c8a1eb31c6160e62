"""Chromium, and stacks for it, each started once."""

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, expect

from tests.browser.chat import Chat
from tests.browser.chromium import ChromiumMissing, chromium, find_chromium
from tests.browser.stacks import Scripted, keyed, scripted
from tests.fakes.loading import LoadingOllama
from tests.fakes.ollama import FakeOllama
from tests.integration.stacks import Running, started

WAIT_MILLISECONDS = 20_000
expect.set_options(timeout=WAIT_MILLISECONDS)
# What Chromium itself reports of an answer with an error status, or of a connection that was cut on purpose.
EXPECTED = "Failed to load resource"


def pytest_sessionstart() -> None:
    try:
        find_chromium()
    except ChromiumMissing as error:
        pytest.exit(str(error), returncode=2)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """A profile of its own for each test; none of its pages may have an error in its console at the end."""
    with browser.new_context(accept_downloads=True) as context:
        context.set_default_timeout(WAIT_MILLISECONDS)
        problems: list[str] = []

        def note(message: ConsoleMessage) -> None:
            if message.type == "error" and not message.text.startswith(EXPECTED):
                problems.append(message.text)

        context.on("console", note)
        context.on("weberror", lambda problem: problems.append(str(problem.error)))
        yield context
    assert problems == []


@pytest.fixture
def page(context: BrowserContext) -> Page:
    return context.new_page()


@pytest.fixture(scope="session")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """What `make run` starts, with the real model."""
    with started(tmp_path_factory.mktemp("real")) as running:
        yield running


@pytest.fixture
def chat(real: Running, page: Page) -> Chat:
    return Chat(page, real.url).open()


@pytest.fixture(scope="session")
def script(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scripted]:
    """A stack whose model server says what a test tells it to, as fast as it tells it to."""
    with scripted(FakeOllama(), tmp_path_factory.mktemp("scripted")) as running:
        yield running


@pytest.fixture(scope="session")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scripted]:
    """The same with one slot."""
    settings = {"GATEWAY_SLOTS": "1"}
    with scripted(FakeOllama(), tmp_path_factory.mktemp("narrow"), **settings) as running:
        yield running


@pytest.fixture(scope="session")
def forgetful(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scripted]:
    """The same with a gateway that keeps no answers."""
    settings = {"GATEWAY_RESUME_MAX": "0"}
    with scripted(FakeOllama(), tmp_path_factory.mktemp("forgetful"), **settings) as running:
        yield running


@pytest.fixture(scope="session")
def slow_to_load(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scripted]:
    """The same with a model server that has to load its models, which takes three seconds."""
    with scripted(LoadingOllama(3), tmp_path_factory.mktemp("loading")) as running:
        yield running


@pytest.fixture(scope="session")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scripted]:
    """The same with keys, some of which have limits."""
    with keyed(FakeOllama(), tmp_path_factory.mktemp("guarded")) as running:
        yield running


@pytest.fixture
def open_chat(page: Page) -> Callable[[Scripted], Chat]:
    return lambda stack: Chat(page, stack.url).open()

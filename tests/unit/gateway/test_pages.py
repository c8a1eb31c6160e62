import pytest

from gateway.access.pages import may_ask, may_be_asked
from gateway.settings import Settings

OPEN = "localhost:8000"


@pytest.mark.parametrize(
    "origin",
    [
        "http://localhost:8000",
        "http://localhost:5173",
        "https://app.localhost",
        "http://127.0.0.1:3000",
        "http://[::1]:8000",
        "app://obsidian.md",
        "vscode-webview://1a2b",
        "chrome-extension://abc",
    ],
)
def test_pages_of_this_machine_and_of_its_programs_may_ask(origin: str) -> None:
    assert may_ask(origin, OPEN, ())


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "https://localhost.evil.example",
        "https://evil-localhost",
        "http://127.0.0.1.evil.example",
        "http://198.51.100.7",
        "http://192.168.1.2",
        "https://localhost@evil.example",
        "http://[::1",
        "http://",
        "null",
        "",
        "evil.example",
    ],
)
def test_pages_of_others_may_not(origin: str) -> None:
    assert not may_ask(origin, OPEN, ())
    assert may_ask(origin, OPEN, (origin,))
    assert may_ask(origin, OPEN, ("*",))


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("nginx:8000", True),
        ("192.168.1.2:8000", True),
        ("[fd00::1]:8000", True),
        ("rebound.example:8000", False),
    ],
)
def test_a_page_from_here_may_ask_unless_its_name_could_lead_elsewhere(host: str, allowed: bool) -> None:
    assert may_ask(f"http://{host}", host, ()) is allowed
    assert not may_ask(f"http://{host}", OPEN, ())


def test_origins_are_separated_by_commas() -> None:
    assert Settings(cors_origins=" https://a.example/, http://b:1,").origins == (
        "https://a.example",
        "http://b:1",
    )
    assert Settings().origins == ()


@pytest.mark.parametrize(
    "host",
    [
        "localhost:8000",
        "127.0.0.1",
        "[::1]:8000",
        "192.168.1.2:80",
        "app.localhost",
        "gateway",
        "box.local",
        "",
    ],
)
def test_a_gateway_without_keys_is_known_by_local_names_and_addresses(host: str) -> None:
    assert may_be_asked(host, ())


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8000", "localhost.evil.example", "[::1", "a.b"]
)
def test_a_public_name_that_leads_here_is_not_one_of_its_own_unless_it_is_configured(host: str) -> None:
    assert not may_be_asked(host, ())
    assert may_be_asked(host, (f"https://{host}",))

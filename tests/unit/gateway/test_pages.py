import pytest

from gateway.access.pages import is_trusted_host, may_read, may_request
from gateway.origins import Origins
from gateway.settings import BadSettings, Settings, load_settings

OPEN = "localhost:8000"
NONE = Origins()


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
    assert may_request(origin, OPEN, NONE)


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
    assert not may_request(origin, OPEN, NONE)
    assert may_request(origin, OPEN, Origins("*"))


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
    assert may_request(f"http://{host}", host, NONE) is allowed
    assert not may_request(f"http://{host}", OPEN, NONE)


# What is configured, an origin as browsers send it, and whether its pages may read where keys are needed, and
# where nobody needs one. The edge answers the same.
READERS = [
    ("", "https://ui.example", False, False),
    ("", "http://localhost", False, True),
    ("", "https://localhost", False, True),
    ("", "http://localhost:5173", False, True),
    ("", "https://127.0.0.1:8443", False, True),
    ("", "http://0.0.0.0:3000", False, True),
    ("", "app://obsidian.md", False, True),
    ("", "file://", False, True),
    ("", "tauri://localhost", False, True),
    ("", "vscode-webview://1a2b-3c", False, True),
    ("", "vscode-file://vscode-app", False, True),
    ("", "http://localhost.evil.example", False, False),
    ("", "http://localhost:1.evil.example", False, False),
    ("", "http://localhost:1@evil.example", False, False),
    ("", "https://evil.example", False, False),
    ("", "https://evil.example:8000", False, False),
    ("", "chrome-extension://abcdefghijklmnop", False, False),
    ("", "http://192.168.1.2", False, False),
    ("", "null", False, False),
    ("", "", False, False),
    ("*", "https://evil.example", True, True),
    ("*", "null", True, True),
    ("null", "null", True, True),
    ("https://ui.example", "https://ui.example", True, True),
    ("https://ui.example", "http://ui.example", False, False),
    ("https://ui.example", "https://ui.example:8443", False, False),
    ("https://ui.example", "https://ui.example.evil.example", False, False),
    ("https://ui.example", "https://uiXexample", False, False),
    (" HTTPS://UI.Example:443/ ", "https://ui.example", True, True),
    ("http://ui.example:80", "http://ui.example", True, True),
    ("http://ui.example:0080", "http://ui.example", True, True),
    ("http://ui.example:443", "http://ui.example:443", True, True),
    ("http://[0:0:0:0:0:0:0:1]:3000", "http://[::1]:3000", True, True),
    ("https://a.example, https://b.example", "https://b.example", True, True),
    ("https://a.example https://b.example", "https://b.example", True, True),
    ("chrome-extension://*", "chrome-extension://abcdefghijklmnop", True, True),
    ("chrome-extension://*", "moz-extension://1a2b", False, False),
    ("http://localhost:*", "http://localhost:5173", True, True),
    ("http://localhost:*", "https://localhost:5173", False, True),
    ("http://localhost:*", "http://localhost", False, True),
    ("http://localhost:*", "http://localhost.evil.example", False, False),
    ("http://localhost:30*", "http://localhost:3000", True, True),
    ("https://*.example.org", "https://a.example.org", True, True),
    ("https://*.example.org", "https://a.b.example.org", True, True),
    ("https://*.example.org", "https://example.org", False, False),
    ("https://*.example.org", "https://a.example.org:8443", False, False),
    ("https://*.example.org", "https://a-example.org", False, False),
    ("https://*.example.org", "https://a.example.org.evil.example", False, False),
    ("https://*.example.org:443", "https://a.example.org", True, True),
    ("https://*.example.org:*", "https://a.example.org:8443", True, True),
    ("https://*", "https://a.example:8443", True, True),
    ("https://*", "http://a.example", False, False),
    ("http://192.168.*", "http://192.168.1.2:3000", True, True),
    ("*.example.org", "https://a.example.org", True, True),
    ("*.example.org", "https://a.example", False, False),
    ("*://ui.example", "http://ui.example", True, True),
    ("*://ui.example", "ws://ui.example.evil.example", False, False),
    ("http*://ui.example", "https://ui.example", True, True),
]


@pytest.mark.parametrize(("configured", "origin", "with_keys", "in_the_open"), READERS)
def test_pages_of_configured_origins_may_read_and_in_the_open_those_of_this_machine(
    configured: str, origin: str, with_keys: bool, in_the_open: bool
) -> None:
    origins = Settings(cors_origins=configured).origins
    assert may_read(origin, origins, is_open=False) is with_keys
    assert may_read(origin, origins, is_open=True) is in_the_open
    assert may_read(origin.upper(), origins, is_open=True) is in_the_open
    # Who may read may ask.
    assert may_request(origin, OPEN, origins) or not in_the_open


def test_a_huge_origin_is_not_even_looked_at() -> None:
    origins = Origins("https://*a*a*a*a*a*a")
    assert "https://" + "a" * 100 in origins
    assert "https://" + "a" * 60_000 not in origins


@pytest.mark.parametrize(
    ("origin", "why"),
    [
        ("https://ui.example/app", "it has a path"),
        ("http://ui.example/*", "it has a path"),
        ("https://ui.example?x", "it has a path"),
        ("file:///home", "it has a path"),
        ("ui.example", "it has no scheme"),
        ("localhost:3000", "it has no scheme"),
        ("localhost:*", "it has no scheme"),
        ("https:/ui.example", "it has no scheme"),
        ("https://", "scheme, host and port"),
        ("https://me@ui.example", "scheme, host and port"),
        ("https://ui.example:port", "scheme, host and port"),
        ("https://bücher.example", "scheme, host and port"),
        ('"https://ui.example"', "scheme, host and port"),
        ("ws://ui.example", "scheme, host and port"),
        ("https://ui.example:99999", "out of range"),
        ("https://*:443", "default port"),
        ("http://[1:2]:3000", "scheme, host and port"),
    ],
)
def test_an_origin_that_no_page_can_have_stops_the_start(
    origin: str, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GATEWAY_CORS_ORIGINS", f"https://good.example,{origin}")
    with pytest.raises(BadSettings) as caught:
        load_settings()
    told = str(caught.value)
    assert told.startswith("GATEWAY_CORS_ORIGINS: ")
    assert repr(origin) in told
    assert why in told
    assert "https://*.example.org" in told


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
    assert is_trusted_host(host, NONE)


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8000", "localhost.evil.example", "[::1", "a.b"]
)
def test_a_public_name_that_leads_here_is_not_one_of_its_own_unless_it_is_configured(host: str) -> None:
    assert not is_trusted_host(host, NONE)
    assert is_trusted_host(host, Origins("*"))


def test_a_public_name_is_one_of_its_own_where_it_is_configured() -> None:
    assert is_trusted_host("ui.example:8000", Origins("https://ui.example:8000"))
    assert is_trusted_host("a.ui.example", Origins("http://*.ui.example"))
    assert not is_trusted_host("ui.example", Origins("https://other.example chrome-extension://*"))

"""How several model servers are written, and what is wrong with what is not understood."""

import pytest

from gateway.servers import MAX_SERVERS, Server, parse_servers
from gateway.settings import BadSettings, load_settings


@pytest.mark.parametrize(
    ("text", "servers"),
    [
        ("", []),
        ("http://gpu1:11434", [("http://gpu1:11434", "ollama", 1)]),
        ("http://gpu1:11434 name=big", [("http://gpu1:11434", "big", 1)]),
        (
            "http://gpu1:11434 weight=2.5 name=big, http://gpu2:11434/",
            [("http://gpu1:11434", "big", 2.5), ("http://gpu2:11434/", "gpu2", 1)],
        ),
        ("http://a:1,http://a:2,", [("http://a:1", "a:1", 1), ("http://a:2", "a:2", 1)]),
        ("https://u:p@a/prefix", [("https://u:p@a/prefix", "ollama", 1)]),
        ("http://[::1]:1", [("http://[::1]:1", "ollama", 1)]),
    ],
)
def test_servers_have_addresses_and_may_have_names_and_weights(
    text: str, servers: list[tuple[str, str, float]]
) -> None:
    assert parse_servers(text) == tuple(Server(*server) for server in servers)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("gpu1:11434", "must be a URL like http://gpu1:11434"),
        ("ftp://gpu1", "must be a URL like http://gpu1:11434"),
        ("http://", "must be a URL like http://gpu1:11434"),
        ("http://gpu1:99999", "no valid port: 99999"),
        ("http://gpu1?x=1", "query or a fragment"),
        ("http://gpu1 gpu2", "name=… and weight=…"),
        ("http://gpu1 http://gpu2", "commas separate servers"),
        ("http://gpu1 name=a name=b", "each once"),
        ("http://gpu1 name=", "name=: use"),
        ("http://gpu1 name=a/b", "name=a/b: use"),
        ("http://gpu1 weight=0", "weight=0: use a number"),
        ("http://gpu1 weight=nan", "weight=nan: use a number"),
        ("http://gpu1 weight=much", "weight=much: use a number"),
        ("http://a name=x, http://b name=X", "2 servers are called x"),
        ("http://a:1, http://a:1", "2 servers are called a:1"),
        (",".join(f"http://a{n}" for n in range(MAX_SERVERS + 1)), "more than 200"),
    ],
)
def test_what_is_not_understood_is_said_with_what_to_do(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words.replace("…", ".")):
        parse_servers(text)


@pytest.mark.parametrize(
    "text",
    [
        "http://user:s3cret@gpu1?x",
        "http://u:s3cret@gpu1 nonsense",
        "htp://u:s3cret@a",
        "http://u:s3cret/x@gpu1",
        "http://u:s3cret,x@gpu1",
        "http://u:s3cret#x@gpu1",
        "http://u:123/s3cret@gpu1",
    ],
)
def test_no_message_shows_a_password(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("GATEWAY_OLLAMA_URLS", text)
    with pytest.raises(BadSettings, match="GATEWAY_OLLAMA_URLS") as raised:
        load_settings()
    assert "s3cret" not in str(raised.value)


def test_the_one_address_counts_if_there_are_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_OLLAMA_URL", "http://one:11434")
    assert load_settings().servers == (Server("http://one:11434/", "ollama"),)
    monkeypatch.setenv("GATEWAY_OLLAMA_URLS", "http://a, http://b")
    assert [server.name for server in load_settings().servers] == ["a", "b"]

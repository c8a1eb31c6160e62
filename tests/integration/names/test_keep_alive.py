"""How long a model stays in memory is an admin's to say, as soon as there are keys."""

from typing import Any

import pytest

from tests.integration.names.named import Named

MESSAGES = [{"role": "user", "content": "hi"}]


@pytest.mark.parametrize("path", ["/chat", "/api/chat", "/api/generate", "/api/embed", "/api/embeddings"])
@pytest.mark.parametrize("value", [b"0", b"-1", b'"24h"'])
def test_a_users_keep_alive_does_not_reach_the_model_server(named: Named, path: str, value: bytes) -> None:
    rest = b'"model":"real:1b", "prompt":"hi", "messages":[{}]'
    answer, received = named.send(path, b'{%b, "keep_alive": %b}' % (rest, value))
    assert answer.status_code == 200
    assert received.body == b"{%b}" % rest
    assert answer.headers["x-request-changed"] == "keep_alive removed"
    body = b'{%b, "keep_alive": %b}' % (rest, value)
    answer, received = named.send(path, body, "admin")
    assert received.body == body
    assert "x-request-changed" not in answer.headers


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/chat", {"messages": []}),
        ("/api/chat", {}),
        ("/api/generate", {}),
        ("/api/generate", {"prompt": "", "keep_alive": "0s"}),
    ],
)
def test_a_user_cannot_unload_a_model_and_is_told_so(named: Named, path: str, fields: dict[str, Any]) -> None:
    before = len(named.fake.received)
    answer = named.ask(path, **{"model": "real:1b", "keep_alive": 0, **fields})
    assert answer.status_code == 403
    assert "GATEWAY_KEEP_ALIVE=any" in answer.text
    assert "x-request-changed" not in answer.headers
    assert len(named.fake.received) == before
    assert named.ask(path, "admin", **{"model": "real:1b", "keep_alive": 0, **fields}).status_code == 200


def test_a_model_that_a_key_may_not_use_does_not_exist_for_unloading_either(named: Named) -> None:
    answer = named.ask("/api/generate", "target", model="large:70b", keep_alive=0)
    assert answer.status_code == 404


def test_loading_a_model_ahead_is_allowed(named: Named) -> None:
    assert named.ask("/api/generate", model="real:1b").status_code == 200
    assert named.ask("/api/generate", model="real:1b", keep_alive=-1).status_code == 200
    assert named.sent_last() == {"model": "real:1b"}


def test_what_is_changed_is_told_beside_the_callers_limits(named: Named) -> None:
    answer = named.ask("/api/chat", "limited", model="real:1b", messages=MESSAGES, keep_alive=-1)
    assert answer.headers["x-request-changed"] == "keep_alive removed"
    assert answer.headers["x-ratelimit-limit-requests"] == "1000"


def test_everything_that_is_changed_is_told(named: Named) -> None:
    answer = named.ask("/api/chat", model="fast", messages=MESSAGES, keep_alive=-1)
    assert answer.headers["x-request-changed"] == "model=real:1b, keep_alive removed"
    assert named.sent_last() == {"model": "real:1b", "messages": MESSAGES}

"""A server that fails before an answer's first byte loses nobody's request; after it, none is repeated."""

from itertools import count

import pytest

from tests.fakes.ollama import Do, Step, line
from tests.faults.failover.pairs import Pair, asked
from tests.integration.apis import CASES, CHAT, Case
from tests.integration.scrapes import value
from tests.processes import wait_until

BUSY = b'{"error":"server busy, please try again.  maximum pending requests exceeded"}'
FAILURES: dict[str, tuple[tuple[Step, ...], int, str]] = {
    "out of memory": ((b'{"error":"model requires more system memory"}',), 500, "upstream_error"),
    "busy": ((BUSY,), 503, "upstream_busy"),
    "reset": ((Do.DROP,), 200, "upstream_error"),
    "lost its model": ((b'{"error":"model \'m\' not found"}',), 404, "model_not_found"),
}


EVERY = [
    *((failure, CHAT) for failure in FAILURES),
    *(("busy", case) for case in CASES if case != CHAT),
]


@pytest.mark.parametrize(("failure", "case"), EVERY, ids=lambda one: getattr(one, "name", one))
def test_before_the_first_byte_another_server_answers(servers: Pair, failure: str, case: Case) -> None:
    steps, status, reason = FAILURES[failure]
    servers.answer(case, first=steps, status=status)
    before = servers.failovers(reason)
    answer = servers.ask(case, "one")
    assert answer.status_code == 200
    assert case.terminals(answer.content) == 1
    assert not case.tells_an_error(answer.content)
    entry = servers.log_of("one")
    assert (entry["backend"], entry["attempts"], entry["outcome"]) == ("second", 2, "ok")
    assert servers.failovers(reason) == before + 1
    # On a kept connection it is sent again once: the server may have closed that one meanwhile.
    assert len(asked(servers.first)) == (2 if failure == "reset" else 1)
    assert len(asked(servers.second)) == 1


def test_a_whole_answer_comes_from_another_server_too(servers: Pair) -> None:
    servers.answer(CASES[1], first=(Do.DROP,))
    servers.second.answer("m", b'{"done":true}', status=201)  # the fake's other statuses are JSON
    answer = servers.ask(CASES[1], "whole", stream=False)
    assert (answer.status_code, answer.json()) == (201, {"done": True})
    assert servers.log_of("whole")["attempts"] == 2


def test_an_unreachable_server_costs_one_attempt(servers: Pair) -> None:
    servers.answer(CHAT)
    servers.first.close()
    answer = servers.ask(CHAT, "down")
    assert CHAT.terminals(answer.content) == 1
    assert servers.log_of("down")["backend"] == "second"
    wait_until(
        lambda: value(servers.url, "gateway_backend_up", backend="first") == 0, 10, "the first server is down"
    )
    servers.ask(CHAT, "later")
    assert "attempts" not in servers.log_of("later")


def test_after_the_first_byte_the_answer_ends_with_its_error(servers: Pair) -> None:
    servers.answer(CHAT, first=(line(), Do.DROP))
    answer = servers.ask(CHAT, "midway")
    assert (answer.status_code, CHAT.terminals(answer.content)) == (200, 1)
    assert CHAT.tells_an_error(answer.content)
    entry = servers.log_of("midway")
    assert (entry["backend"], entry["outcome"]) == ("first", "truncated")
    assert not asked(servers.second)


def test_a_request_that_a_server_refuses_is_not_sent_to_another(servers: Pair) -> None:
    servers.answer(CHAT, first=(b'{"error":"invalid options: temperature"}',), status=400)
    answer = servers.ask(CHAT, "refused")
    assert answer.status_code == 400
    assert "invalid options" in answer.text
    assert not asked(servers.second)


def test_if_all_fail_the_client_gets_the_last_ones_own_words(servers: Pair) -> None:
    servers.answer(CASES[1], first=(b'{"error":"first words"}',), status=500)
    servers.second.answer("m", b'{"error":"last words"}', status=500)
    answer = servers.ask(CASES[1], "failed")
    assert (answer.status_code, answer.json()) == (500, {"error": "last words"})
    assert (len(asked(servers.first)), len(asked(servers.second))) == (1, 1)
    assert servers.log_of("failed")["attempts"] == 2


def test_a_server_that_fails_again_and_again_gets_no_more_requests_until_it_answers(servers: Pair) -> None:
    servers.answer(CHAT, first=(b'{"error":"broken"}',), status=500)
    numbers = count()

    def is_spared() -> bool:
        request_id = f"asked-{next(numbers)}"
        assert servers.ask(CHAT, request_id).status_code == 200
        return "attempts" not in servers.log_of(request_id)

    wait_until(is_spared, 20, "the first server is not asked any more")
    assert next(numbers) >= 3
    assert value(servers.url, "gateway_backend_up", backend="first") == 1

    servers.answer(CHAT)

    def is_back() -> bool:
        request_id = f"back-{next(numbers)}"
        servers.ask(CHAT, request_id)
        return bool(servers.log_of(request_id)["backend"] == "first")

    wait_until(is_back, 60, "the first server answers again")


def test_a_server_that_has_the_model_is_asked_even_if_it_is_the_only_one_and_fails(servers: Pair) -> None:
    servers.answer(CASES[1], first=(b'{"error":"broken"}',), status=500)
    del servers.second.answers["m"]
    servers.second.answer("other")
    for number in range(5):
        servers.ask(CASES[1], f"alone-{number}")
    wait_until(
        lambda: servers.ask(CASES[1], "poll").json() == {"error": "broken"},
        15,
        "the error is the first one's",
    )

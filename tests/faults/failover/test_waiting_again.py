"""A request whose server has failed waits for another one as if it had not been sent yet."""

from pathlib import Path

from tests.fakes.loading import LoadingOllama
from tests.fakes.ollama import DONE, Do, FakeOllama, line
from tests.faults.failover.pairs import pair
from tests.integration.apis import CHAT


def test_the_first_servers_time_limit_does_not_end_the_wait_for_a_load_at_the_second(tmp_path: Path) -> None:
    first, second = FakeOllama(), LoadingOllama(4)
    limits = {"GATEWAY_FIRST_BYTE_TIMEOUT": "3", "GATEWAY_MAX_ANSWER_SECONDS": "3"}
    with first.running(), second.running(), pair(tmp_path, first, second, **limits) as two:
        first.loaded = [{"name": "m:latest"}]
        first.answer("m", 1.0, Do.DROP)
        second.answer("m", line(), DONE)
        two.wait_available("first", "second", model="m")
        answer = two.ask(CHAT, "one")
        assert not CHAT.tells_an_error(answer.content)
        entry = two.log_of("one")
    assert (entry["backend"], entry["attempts"], entry["outcome"]) == ("second", 2, "ok")
    assert entry["load_seconds"] > 3

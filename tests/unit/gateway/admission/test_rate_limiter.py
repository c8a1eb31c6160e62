"""When a request is refused for its caller's limits, with what headers, and what it is charged."""

import re
import weakref
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gateway.access.caller import Caller
from gateway.admission.accounts import MemoryAccounts
from gateway.admission.estimates import UNKNOWN_OUTPUT, UNKNOWN_SECONDS, Estimates
from gateway.admission.limits import RateLimiter
from gateway.ask.ask import MAX_PROMPT_ESTIMATE, Ask
from gateway.ask.fields import Fields
from gateway.ask.route import Route
from gateway.ask.waiting import Status, Used
from gateway.dialects.rate_limit import Quota, anthropic_headers, openai_headers
from gateway.errors import GatewayError, QueueFull, RateLimited, UpstreamRefused, UpstreamTruncated
from gateway.limits import Limits, parse_windows
from gateway.routes.table import CHAT_ROUTE, PASSED_ON

MESSAGES = next(route for route in PASSED_ON if route.path == "/v1/messages")
TAGS = next(route for route in PASSED_ON if route.path == "/api/tags")


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Answer:
    """How far an answer has got: what the limiter asks of a generation."""

    request_id = "id"
    accepted_at: float | None = None

    def __init__(self, prompt: int | None = 10, output: int = 5, *more: Any) -> None:
        self.used = Used(prompt, output, *more)
        self.headers: Sequence[tuple[bytes, bytes]] = ()
        self.settle: Callable[[], Awaitable[None]]

    def add_headers(self, headers: Sequence[tuple[bytes, bytes]]) -> None:
        self.headers = headers

    def accepted(self) -> None: ...

    def waits_for(self, status: Callable[[], Status | None]) -> None: ...

    def waited(self, seconds: float) -> None: ...

    def stop(self, reason: GatewayError) -> None: ...

    def loaded(self, backend: str, seconds: float) -> None: ...

    def asked(self, backend: str) -> None: ...

    def tokens(self) -> Used:
        return self.used

    def when_sent(self, settle: Callable[[], Awaitable[None]]) -> None:
        self.settle = settle


def ask(
    requests: str = "",
    tokens: str = "",
    concurrent: int | None = None,
    body: bytes = b"",
    route: Route = CHAT_ROUTE,
) -> Ask:
    limits = Limits(parse_windows(requests), parse_windows(tokens), concurrent)
    return Ask(route, Caller("192.0.2.7", limits=limits), route.path, {}, body, Fields())


class Limited:
    """A limiter with a clock that the test moves."""

    def __init__(self, workers: int = 1) -> None:
        self.clock = Clock()
        self.limiter = RateLimiter(MemoryAccounts(self.clock, workers=lambda: workers), Estimates())

    async def headers(self, ask: Ask, answer: Answer | None = None) -> dict[str, str]:
        answer = answer or Answer()
        async with self.limiter.admitted(ask, answer):
            return {name.decode(): value.decode() for name, value in answer.headers}

    async def refusal(self, ask: Ask, answer: Answer | None = None) -> RateLimited:
        with pytest.raises(RateLimited) as raised:
            await self.headers(ask, answer)
        return raised.value

    async def used_tokens(self, ask: Ask) -> int:
        return (await self.limiter.balance(ask.caller)).tokens[0].used


async def test_requests_beyond_a_limit_are_refused_for_exactly_as_long_as_it_lasts() -> None:
    limited, question = Limited(), ask(requests="2/m")
    await limited.headers(question)
    limited.clock.now += 20.5
    await limited.headers(question)
    refusal = await limited.refusal(question)
    assert (refusal.unit, refusal.retry_after) == ("requests", 40)
    assert refusal.message == "too many requests: the limit is 2/m; try again after 40 s"
    limited.clock.now += 40
    await limited.headers(question)


async def test_tokens_are_refused_once_they_are_used_up_and_what_was_used_beyond_counts() -> None:
    limited, question = Limited(), ask(tokens="20/m")
    await limited.headers(question, Answer(10, 9))
    limited.clock.now += 30
    headers = await limited.headers(question, Answer(1000, 9))
    assert headers["x-ratelimit-remaining-tokens"] == "1"
    limited.clock.now += 30
    refusal = await limited.refusal(question)
    assert (refusal.unit, refusal.retry_after) == ("tokens", 30)
    assert await limited.used_tokens(question) == 1009


async def test_of_several_limits_the_one_that_lasts_longest_decides() -> None:
    limited, question = Limited(), ask(requests="1/s,2/h", tokens="10/m")
    await limited.headers(question, Answer(0, 0))
    assert (await limited.refusal(question)).message.startswith("too many requests: the limit is 1/s")
    limited.clock.now += 1
    await limited.headers(question, Answer(10, 10))
    assert (await limited.refusal(question)).message.startswith("too many requests: the limit is 2/h")


async def test_requests_at_the_same_time_are_limited_until_one_has_ended() -> None:
    limited, question = Limited(), ask(concurrent=1)
    async with limited.limiter.admitted(question, Answer()):
        refusal = await limited.refusal(question)
    assert refusal.message == (
        "too many requests at the same time: the limit is 1; wait until one of them has ended"
    )
    assert (refusal.unit, refusal.retry_after) == ("requests", 5)
    await limited.headers(question)


async def test_a_request_has_ended_when_its_answer_is_sent_and_is_charged_once() -> None:
    limited, question, answer = Limited(), ask(tokens="1k/m", concurrent=1), Answer(10, 5)
    async with limited.limiter.admitted(question, answer):
        await answer.settle()
        assert await limited.used_tokens(question) == 15
        await limited.headers(question, Answer(0, 0))
    assert await limited.used_tokens(question) == 15


async def test_an_answer_that_has_ended_is_in_no_reference_cycle() -> None:
    question, answer = ask(), Answer()
    ended = weakref.ref(answer)
    await Limited().headers(question, answer)
    del answer
    assert ended() is None


async def test_several_workers_enforce_a_share_each() -> None:
    limited, question = Limited(workers=2), ask(requests="3/m", concurrent=5)
    assert (await limited.headers(question))["x-ratelimit-limit-requests"] == "2"
    await limited.headers(question)
    assert (await limited.refusal(question)).message.startswith("too many requests: the limit is 2/m")


async def test_what_does_not_make_a_model_work_is_not_limited() -> None:
    limited = Limited()
    for _ in range(3):
        assert await limited.headers(ask(requests="1/m", route=TAGS)) == {}


async def test_a_caller_without_limits_gets_no_headers() -> None:
    assert await Limited().headers(ask()) == {}


@pytest.mark.parametrize(
    ("used", "failure", "tokens"),
    [
        (Used(11, 3), None, 14),
        (Used(None, 3), None, 253),
        (Used(None, 0), None, 250),
        (Used(None, 3), UpstreamTruncated("gone"), 253),
        # A client that leaves an answer that does not stream, which takes as long as any.
        (Used(None, 0, UNKNOWN_SECONDS), None, 250 + UNKNOWN_OUTPUT),
        (Used(None, 3, UNKNOWN_SECONDS, complete=True), None, 253),
        (Used(11, 3), UpstreamTruncated("gone"), 14),
        (Used(None, 0), UpstreamRefused("invalid"), 0),
        (Used(0, 0), None, 0),
    ],
)
async def test_an_answer_is_charged_what_is_known_and_an_estimate_of_its_prompt(
    used: Used, failure: Exception | None, tokens: int
) -> None:
    limited, question = Limited(), ask(tokens="1M/d", body=b"x" * 1000)
    try:
        async with limited.limiter.admitted(question, Answer(*used)):
            if failure:
                raise failure
    except type(failure or Exception()):
        assert failure
    assert await limited.used_tokens(question) == tokens


async def test_the_estimate_of_a_prompt_with_images_is_bounded() -> None:
    assert ask(body=b"x" * 10_000_000).prompt_estimate == MAX_PROMPT_ESTIMATE


async def test_the_headers_are_of_the_window_with_the_least_left() -> None:
    limited, question = Limited(), ask(requests="2/m,3/d", tokens="20k/m,1M/d")
    seen = []
    for _ in range(3):
        headers = await limited.headers(question)
        assert headers["x-ratelimit-limit-tokens"] == "20000"
        seen.append([headers[f"x-ratelimit-{field}-requests"] for field in ("limit", "remaining", "reset")])
        limited.clock.now += 45
    # Two are left of the day's three after the first request, but only one of the minute's two.
    assert seen == [["2", "1", "1m0s"], ["2", "0", "1m0s"], ["3", "0", "24h0m0s"]]


async def test_a_refusal_has_the_headers_too() -> None:
    limited, question = Limited(), ask(requests="1/m")
    await limited.headers(question)
    limited.clock.now += 15
    answer = Answer()
    assert (await limited.refusal(question, answer)).headers() == [(b"retry-after", b"45")]
    assert answer.headers == [
        (b"x-ratelimit-limit-requests", b"1"),
        (b"x-ratelimit-remaining-requests", b"0"),
        (b"x-ratelimit-reset-requests", b"45s"),
    ]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (0.02, "1s"),
        (1, "1s"),
        (59.5, "1m0s"),
        (360, "6m0s"),
        (3600, "1h0m0s"),
        (86399, "23h59m59s"),
    ],
)
def test_openais_reset_is_a_duration_in_whole_seconds(seconds: float, text: str) -> None:
    assert openai_headers([Quota("requests", 60, 59, seconds)]) == [
        (b"x-ratelimit-limit-requests", b"60"),
        (b"x-ratelimit-remaining-requests", b"59"),
        (b"x-ratelimit-reset-requests", text.encode()),
    ]


async def test_anthropics_headers_have_their_own_names_and_times() -> None:
    headers = await Limited().headers(ask(requests="60/m", tokens="20k/m", route=MESSAGES))
    assert list(headers) == [
        f"anthropic-ratelimit-{unit}-{field}"
        for unit in ("requests", "tokens")
        for field in ("limit", "remaining", "reset")
    ]
    assert headers["anthropic-ratelimit-tokens-limit"] == "20000"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", headers["anthropic-ratelimit-requests-reset"])
    (*_, (_, reset)) = anthropic_headers([Quota("requests", 60, 59, 30)])
    left = datetime.fromisoformat(reset.decode()) - datetime.now(UTC)
    assert timedelta(seconds=20) < left <= timedelta(seconds=31)


async def test_a_request_that_the_queue_refuses_uses_up_no_limit() -> None:
    """A client that tries again after the time that it is told would otherwise lock itself out."""
    limited, question = Limited(), ask(requests="1/m")
    for _ in range(3):
        with pytest.raises(QueueFull):
            async with limited.limiter.admitted(question, Answer(0, 0)):
                raise QueueFull("full", 1)
    assert (await limited.limiter.balance(question.caller)).in_flight == 0
    await limited.headers(question)
    await limited.refusal(question)

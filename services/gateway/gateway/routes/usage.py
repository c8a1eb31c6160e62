"""`GET /usage`: the caller's limits, and what is left of them."""

import math

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from ..admission.accounts import Level
from ..state import state_of
from .heads import answer_heads

router = APIRouter(tags=["operations"])


class WindowUsage(BaseModel):
    limit: int
    seconds: int = Field(description="length of the window")
    used: int = Field(description="may exceed the limit, because tokens are counted at the end of an answer")
    remaining: int
    reset_seconds: int = Field(description="until nothing is used, without further requests")


class CallerLimits(BaseModel):
    requests: list[WindowUsage]
    tokens: list[WindowUsage]
    concurrent: int | None = Field(description="requests at the same time; null: no limit")
    max_output: int | None = Field(description="tokens of the longest answer; null: no limit")


class Total(BaseModel):
    requests: int
    tokens: int
    seconds: int = Field(description="since the first request that is counted here")


class Usage(BaseModel):
    caller: str = Field(description="name of the API key; without keys, the client's address or /64")
    limits: CallerLimits
    in_flight: int = Field(description="requests that wait or run")
    total: Total


@router.get("/usage", summary="The caller's limits, and what is left of them")
async def usage(request: Request) -> Usage:
    """Only requests for a model's answer count. With several workers, this is the share of the one that
    answers."""
    state = state_of(request)
    caller = state.identify(request, "read")
    limits, balance = state.limiter.limits(caller), await state.limiter.balance(caller)
    return Usage(
        caller=caller.identity,
        limits=CallerLimits(
            requests=[_window(level) for level in balance.requests],
            tokens=[_window(level) for level in balance.tokens],
            concurrent=limits.concurrent,
            max_output=limits.max_output,
        ),
        in_flight=balance.in_flight,
        total=Total(
            requests=balance.total_requests, tokens=balance.total_tokens, seconds=math.floor(balance.age)
        ),
    )


def _window(level: Level) -> WindowUsage:
    return WindowUsage(
        limit=level.window.amount,
        seconds=level.window.seconds,
        used=level.used,
        remaining=level.remaining,
        reset_seconds=math.ceil(level.reset),
    )


answer_heads(router)

"""What the routes that run no model share: JSON in, JSON out, the state."""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from . import body
from .exchange import JSON
from .gojson import codec
from .state import State


def json_response(value: object) -> Response:
    return Response(codec.encode(value), media_type=JSON)


async def json_body(request: Request) -> Any:
    return await body.decode(request.headers, await body.collect(request.stream()))


def state_of(request: Request) -> State:
    state: State = request.state.engine
    return state

"""CORS: which web pages may read an answer, and the answers to preflight requests."""

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from ..access.pages import may_read
from ..dialects.rate_limit import header_names
from ..origins import Origins

# Response headers that clients in a browser may read.
EXPOSED = (
    "x-request-id",
    "x-request-changed",
    "request-id",
    "retry-after",
    "location",
    "preference-applied",
    *header_names(),
)


class Cors:
    """Chooses the rule per request: whether API keys are required may change while the gateway runs."""

    def __init__(self, app: ASGIApp, origins: Origins) -> None:
        self._open = _Rule(app, origins, is_open=True)
        self._with_keys = _Rule(app, origins, is_open=False)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["state"]["gateway"].keyring.is_open:
            await self._open(scope, receive, send)
        else:
            await self._with_keys(scope, receive, send)


class _Rule(CORSMiddleware):
    def __init__(self, app: ASGIApp, origins: Origins, is_open: bool) -> None:
        super().__init__(
            app,
            allow_methods=["*"],
            allow_headers=["*"],
            allow_private_network=True,
            expose_headers=EXPOSED,
        )
        self._origins = origins
        self._is_open = is_open

    def is_allowed_origin(self, origin: str) -> bool:
        return may_read(origin, self._origins, self._is_open)

    def preflight_response(self, request_headers: Headers) -> Response:
        response = super().preflight_response(request_headers)
        if response.status_code != 200:
            del response.headers["access-control-allow-private-network"]
        return response

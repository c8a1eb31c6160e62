"""Exception handlers: a route's error as the response to its request."""

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response

from ..access.guard import EDGE_HEADER
from ..dialects.api import api_of
from ..errors import GatewayError, InternalError, Unauthorized
from ..state import record_of

ErrorHandler = Callable[[Request, Exception], Awaitable[Response]]

# The nginx location that rate-limits failed authentication.
FAILED_TRY = "@failed_try"


async def error_response(request: Request, error: Exception) -> Response:
    assert isinstance(error, GatewayError)
    record = record_of(request)
    record.outcome = error.outcome
    refusal = api_of(request.scope["path"]).refusal(error, record.request_id)
    response = Response(refusal.body, refusal.status)
    response.raw_headers = refusal.headers
    if isinstance(error, Unauthorized) and request.headers.get(EDGE_HEADER) == FAILED_TRY:
        response.headers["x-accel-redirect"] = FAILED_TRY
    return response


async def defect_response(request: Request, _: Exception) -> Response:
    """Response to an unexpected exception. FastAPI raises it again, and RequestObserver logs it."""
    return await error_response(request, InternalError())

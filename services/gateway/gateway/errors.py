"""Every way a request can fail. Each leaf knows its status, code and outcome.

GatewayError
  InvalidRequest              400  the client's request is at fault
    BodyTooLarge              413
    NotHttp                   400  not even a request can be made out
    HeadTooLarge              431
    RequestTooSlow            408
    UpstreamRefused           4xx  upstream found the request at fault
      ModelNotFound           404
  Unauthorized                401  no key
    InvalidKey                401  none that is valid
  Forbidden                   403  the caller may not, or nobody: what is switched off, or would leave
  NotServed                   404, 405  no such path or method here
  UpstreamFailed              502  upstream answered with an error
    UpstreamUnreachable       502
    UpstreamTruncated         502  the stream ended without its last line
  UpstreamBusy                503
  UpstreamTimeout             504
  Overloaded                  503  the gateway has no room for it
  AuditBlocked                503  nothing may be done that cannot be written down
  Drained                     503  the gateway is stopping
  ClientGone                  499  nobody is left to tell
    ReaderStalled             499  nobody listens
  InternalError               500  a defect of the gateway
"""

import re
from typing import ClassVar, Literal

Outcome = Literal["ok", "client_gone", "upstream_error", "truncated", "timeout", "rejected", "drained"]


# Addresses within a machine or its network, with what stands behind them, and the paths of files. A text may
# be long, and of a client's making: nothing here may look far ahead for how it ends.
_PLACE = re.compile(
    r"""(?:https?://)?
        (?:\b(?:localhost|model-server)(?=[:/])|\[(?:::1|f[cd][0-9a-f:]{0,40}|fe80[^\]]{0,60})\]
          |\b(?:127|10)(?:\.\d{1,3}){3}|\b192\.168(?:\.\d{1,3}){2}|\b172\.(?:1[6-9]|2\d|3[01])(?:\.\d{1,3}){2})
        (?::\d+)?(?:/[^\s"',;)]*)?
      |(?<![\w./:-])(?:/(?:app|data|dev|etc|home|mnt|models|opt|proc|root|run|srv|tmp|usr|var|Users)/|[A-Z]:\\)
        [^\s"',:;)]*""",
    re.VERBOSE,
)


def without_places(text: str) -> str:
    """A text of upstream's, without what is nobody's business outside."""
    return _PLACE.sub("…", text)


class GatewayError(Exception):
    """`message` is for the client: it says what was wrong and, where that helps, what to do."""

    status: int = 500
    type: ClassVar[str] = "api_error"
    code: str = "internal_error"
    outcome: ClassVar[Outcome] = "upstream_error"
    retry_after: ClassVar[int | None] = None

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message
        self.upstream: tuple[int, bytes] | None = None
        """Upstream's own status and body in JSON, where this is upstream's error."""

    def headers(self) -> list[tuple[bytes, bytes]]:
        """What goes with the status, as ASGI wants it."""
        return [(b"retry-after", b"%d" % self.retry_after)] if self.retry_after else []


class InvalidRequest(GatewayError):
    status = 400
    type = "invalid_request_error"
    code = "invalid_request"
    outcome = "rejected"


class BodyTooLarge(InvalidRequest):
    status = 413
    code = "body_too_large"


class NotHttp(InvalidRequest):
    code = "bad_request"


class HeadTooLarge(InvalidRequest):
    status = 431
    code = "head_too_large"


class RequestTooSlow(InvalidRequest):
    status = 408
    code = "request_timeout"


class UpstreamRefused(InvalidRequest):
    """Upstream's own 4xx; the status is upstream's."""


class ModelNotFound(UpstreamRefused):
    status = 404
    type = "not_found_error"
    code = "model_not_found"


class Unauthorized(GatewayError):
    status = 401
    type = "authentication_error"
    code = "invalid_api_key"
    outcome = "rejected"

    challenge: ClassVar[bytes] = b'Bearer realm="sluice"'

    def headers(self) -> list[tuple[bytes, bytes]]:
        return [(b"www-authenticate", self.challenge)]


class InvalidKey(Unauthorized):
    challenge = Unauthorized.challenge + b', error="invalid_token"'


class Forbidden(GatewayError):
    status = 403
    type = "permission_error"
    code = "forbidden"
    outcome = "rejected"


class NotServed(GatewayError):
    """No route for this path or method."""

    type = "not_found_error"
    outcome = "rejected"

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status
        self.code = "method_not_allowed" if status == 405 else "not_found"


class UpstreamFailed(GatewayError):
    """`message` may be upstream's own."""

    status = 502
    code = "upstream_error"

    def __init__(self, message: str) -> None:
        super().__init__(without_places(message))


class UpstreamUnreachable(UpstreamFailed):
    code = "upstream_unreachable"
    retry_after = 5


class UpstreamTruncated(UpstreamFailed):
    code = "upstream_truncated"
    outcome = "truncated"


class UpstreamBusy(UpstreamFailed):
    status = 503
    type = "overloaded_error"
    code = "upstream_busy"
    retry_after = 5


class UpstreamTimeout(UpstreamFailed):
    status = 504
    type = "timeout_error"
    code = "upstream_timeout"
    outcome = "timeout"


class Overloaded(GatewayError):
    status = 503
    type = "overloaded_error"
    code = "overloaded"
    outcome = "rejected"
    retry_after = 5


class AuditBlocked(Overloaded):
    code = "audit_blocked"


class Drained(GatewayError):
    status = 503
    type = "overloaded_error"
    code = "shutting_down"
    outcome = "drained"
    retry_after = 5


class ClientGone(GatewayError):
    """Never sent to anybody; the status is what nginx logs for it."""

    status = 499
    code = "client_gone"
    outcome = "client_gone"


class ReaderStalled(ClientGone):
    """There is a client, but it takes nothing: the connection is dropped with what it has not taken."""


class InternalError(GatewayError):
    """The details are in the log, under the request id."""

    def __init__(self) -> None:
        super().__init__("internal error; the gateway's log has it under this request id")

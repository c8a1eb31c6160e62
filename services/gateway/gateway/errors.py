"""Every way a request can fail. Each class has its HTTP status, error code and outcome.

GatewayError
  InvalidRequest              400  the client's request is at fault
    BodyTooLarge              413
    NotHttp                   400  not a well-formed HTTP request
    HeadTooLarge              431
    RequestTooSlow            408
    UpstreamRefused           4xx  upstream rejected the request
      ModelNotFound           404
    AnswerNotFound            404  no kept answer of this caller has the id
    TooManyReaders            429  too many connections read one answer
  Unauthorized                401  no API key
    InvalidKey                401  no valid API key
  Forbidden                   403  not allowed for this caller, or disabled for all
  RateLimited                 429  a limit of the caller is reached
  NotServed                   404, 405  no such path or method
  UpstreamFailed              502  upstream answered with an error
    UpstreamUnreachable       502
    UpstreamTruncated         502  the stream ended without its final event
  UpstreamBusy                503
  UpstreamTimeout             504
  AnswerTooLong               410  the answer took longer than the operator allows
  Overloaded                  503  the gateway is out of capacity
    AuditBlocked              503  the audit log cannot be written
    QueueFull                 503  too many requests wait
      CallerQueueFull         429  too many requests of this caller wait
    QueueTimeout              503  no slot became free in time
  Drained                     503  the gateway is stopping
  ClientGone                  499  the client has disconnected
    ReaderStalled             499  the client has stopped reading
  AnswerStopped               410  ended by its caller or an admin
    AnswerCancelled           410  and its caller wants to know what there is of it
    AnswerNotKept             410  grown too large to be kept
  InternalError               500  a bug in the gateway
"""

from typing import ClassVar, Literal

from .redaction import redact

Outcome = Literal["ok", "client_gone", "upstream_error", "truncated", "timeout", "rejected", "drained"]


class GatewayError(Exception):
    """Base class. `message` is for the client: what was wrong and, where it helps, what to do."""

    status: int = 500
    type: ClassVar[str] = "api_error"
    code: str = "internal_error"
    outcome: ClassVar[Outcome] = "upstream_error"
    retry_after: int | None = None

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message
        self.upstream: tuple[int, bytes] | None = None
        """Status and JSON body from upstream, if the error is upstream's own."""

    def headers(self) -> list[tuple[bytes, bytes]]:
        """Response headers that belong to the status, in ASGI form."""
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
    """A 4xx from upstream; `status` is upstream's."""


class ModelNotFound(UpstreamRefused):
    status = 404
    type = "not_found_error"
    code = "model_not_found"


class AnswerNotFound(InvalidRequest):
    status = 404
    type = "not_found_error"
    code = "answer_not_found"


class TooManyReaders(InvalidRequest):
    status = 429
    type = "rate_limit_error"
    code = "too_many_readers"


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


class RateLimited(GatewayError):
    """`reason` is which limit is reached, `unit` what it limits, `retry_after` is in seconds."""

    status = 429
    type = "rate_limit_error"
    code = "rate_limited"
    outcome = "rejected"

    def __init__(
        self,
        message: str,
        reason: Literal["requests", "tokens", "concurrent"],
        retry_after: int,
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.unit = "tokens" if reason == "tokens" else "requests"
        self.retry_after = retry_after


class NotServed(GatewayError):
    """No route matches this path or method."""

    type = "not_found_error"
    outcome = "rejected"

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status
        self.code = "method_not_allowed" if status == 405 else "not_found"


class UpstreamFailed(GatewayError):
    """`message` may come from upstream; it is redacted."""

    status = 502
    code = "upstream_error"

    def __init__(self, message: str) -> None:
        super().__init__(redact(message))


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


class AnswerTooLong(GatewayError):
    """Not a timeout status: clients would repeat the request, which would take as long again."""

    status = 410
    type = "timeout_error"
    code = "answer_too_long"
    outcome = "rejected"


class Overloaded(GatewayError):
    status = 503
    type = "overloaded_error"
    code = "overloaded"
    outcome = "rejected"
    retry_after = 5


class AuditBlocked(Overloaded):
    code = "audit_blocked"


class QueueFull(Overloaded):
    """`retry_after` is in seconds, `reason` for the metrics. The message begins as Ollama's."""

    reason: ClassVar[str] = "queue_full"

    def __init__(self, what: str, retry_after: int) -> None:
        super().__init__(f"server busy, please try again: {what}")
        self.retry_after = retry_after


class CallerQueueFull(QueueFull):
    reason = "caller_queue_full"
    unit = "requests"
    status = 429
    type = "rate_limit_error"
    code = "rate_limited"


class QueueTimeout(QueueFull):
    reason = "queue_timeout"
    code = "queue_timeout"


class Drained(GatewayError):
    status = 503
    type = "overloaded_error"
    code = "shutting_down"
    outcome = "drained"
    retry_after = 5

    def __init__(self, message: str = "the gateway is restarting; send the request again") -> None:
        super().__init__(message)


class ClientGone(GatewayError):
    """Never sent; the status is the one nginx logs for a closed connection."""

    status = 499
    code = "client_gone"
    outcome = "client_gone"


class ReaderStalled(ClientGone):
    """The client is connected but does not read: the connection is dropped, with any unsent data."""


class AnswerStopped(GatewayError):
    """Official clients do not repeat a request after this status."""

    status = 410
    type = "invalid_request_error"
    code = "answer_stopped"
    outcome = "rejected"


class AnswerCancelled(AnswerStopped):
    """Ended by its caller, who goes on to ask for what there is of it."""


class AnswerNotKept(AnswerStopped):
    code = "answer_not_kept"


class InternalError(GatewayError):
    """The details are in the log, under the request id."""

    def __init__(self) -> None:
        super().__init__("internal error; look for this request id in the gateway's log")

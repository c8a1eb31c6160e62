"""Authentication and authorisation, done by every route before it reads the body."""

from starlette.requests import Request

from ..errors import AuditBlocked, Forbidden
from ..settings import Settings
from ..telemetry.audit import Audit
from ..telemetry.record import RequestRecord
from .caller import Caller
from .keyring import Keyring
from .pages import is_trusted_host, may_request
from .roles import AUDITED, PERMISSIONS, RouteClass

# Longer than any of Ollama's paths; bounds what goes into the audit log.
MAX_PATH = 200

# Set by nginx on every request, overriding the client's: the location to which a request without a valid key
# is redirected (nginx/snippets/failed-tries.conf).
EDGE_HEADER = "x-failed-try"


class Guard:
    def __init__(self, settings: Settings, keyring: Keyring, audit: Audit) -> None:
        self._settings = settings
        self._keyring = keyring
        self._audit = audit

    def caller(self, request: Request, kind: RouteClass) -> Caller:
        """The caller, if this class of request is allowed. Raises Unauthorized, Forbidden, AuditBlocked."""
        record: RequestRecord = request.state.record
        key = self._keyring.key_of(_credentials(request))
        # Only after authentication: otherwise callers without a key could flood the audit log.
        if kind in AUDITED:
            record.audited = f"{request.method} {request.scope['path'][:MAX_PATH]}"
        if key:
            record.key = key.name
            record.counts_key = self._settings.key_metrics == "on"
            if kind not in PERMISSIONS[key.role]:
                raise Forbidden(f"the role {key.role} of this API key does not allow this request")
        else:
            self._check_page(request)
        self._check_switches(kind, is_anonymous=key is None)
        if kind in AUDITED and self._audit.blocks:
            raise AuditBlocked(
                "models cannot be managed: the audit log is not writable, see GATEWAY_AUDIT_FILE"
            )
        default = self._settings.limits
        if not key:
            return Caller(record.client, limits=default)
        limits = key.terms.limits.or_default(default)
        return Caller(record.client, key.name, key.role, key.models, limits, key.terms.weight)

    def _check_page(self, request: Request) -> None:
        """Without keys, refuse requests from foreign web pages. Raises Forbidden."""
        origins = self._settings.origins
        host, origin = request.headers.get("host", ""), request.headers.get("origin")
        if origin is not None and not may_request(origin, host, origins):
            raise Forbidden(
                "web pages of this origin are not allowed; add it to GATEWAY_CORS_ORIGINS or create API keys"
            )
        if origin is None and not is_trusted_host(host, origins):
            raise Forbidden(
                "unknown name in the Host header; add it to GATEWAY_CORS_ORIGINS or create API keys"
            )

    def _check_switches(self, kind: RouteClass, is_anonymous: bool) -> None:
        managing_is_off = is_anonymous and self._settings.admin_api == "off"
        if kind == "account" and self._settings.account_api == "off":
            needed = "GATEWAY_ADMIN_API=on and " if managing_is_off else ""
            raise Forbidden(
                f"the account API is disabled; set {needed}GATEWAY_ACCOUNT_API=on to enable it. "
                "`ollama push` needs it, and pushes only to GATEWAY_PUSH_REGISTRIES"
            )
        if kind in AUDITED and managing_is_off:
            raise Forbidden("managing models is disabled; set GATEWAY_ADMIN_API=on to enable it")
        if kind == "web":
            check_web_search(self._settings)


def check_web_search(settings: Settings) -> None:
    """Whether Ollama may search the web, which it does with its own account. Raises Forbidden."""
    if settings.web_search == "off":
        raise Forbidden("web search is disabled; set GATEWAY_WEB_SEARCH=on to enable it")


def came_through_nginx(request: Request) -> bool:
    return EDGE_HEADER in request.headers


def _credentials(request: Request) -> list[str]:
    """API keys in `x-api-key` (Anthropic's clients) and `Authorization: Bearer` (OpenAI's and Ollama's).

    A client may send both, one of them meant for another server.
    """
    found = request.headers.getlist("x-api-key")
    for value in request.headers.getlist("authorization"):
        scheme, _, token = value.partition(" ")
        if scheme.lower() == "bearer":
            found.append(token.strip())
    return [text for text in found if text]

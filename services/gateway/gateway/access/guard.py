"""What every route asks first: who is it, and may they do this? Nothing of the body is read before."""

from starlette.requests import Request

from ..errors import AuditBlocked, Forbidden
from ..settings import Settings
from ..telemetry.audit import Audit
from ..telemetry.record import RequestRecord
from .caller import ANYBODY, Caller
from .keyring import Keyring
from .pages import may_ask, may_be_asked
from .roles import AUDITED, MAY, RouteClass

# Longer than any path of Ollama's; it goes into a log.
MAX_PATH = 200

# nginx has it in every request, whatever a client sends: where those without a valid key are to be sent
# (nginx/snippets/failed-tries.conf).
EDGE_HEADER = "x-failed-try"


class Guard:
    def __init__(self, settings: Settings, keyring: Keyring, audit: Audit) -> None:
        self._settings = settings
        self._keyring = keyring
        self._audit = audit

    def caller(self, request: Request, kind: RouteClass) -> Caller:
        """Whoever asks, if they may do what is of this kind. Raises Unauthorized, Forbidden, AuditBlocked."""
        record: RequestRecord = request.state.record
        key = self._keyring.key_of(_credentials(request))
        # Not before: those who have no key could wash everything else away.
        if kind in AUDITED:
            record.audited = f"{request.method} {request.scope['path'][:MAX_PATH]}"
        if key:
            record.key = key.name
            if kind not in MAY[key.role]:
                raise Forbidden(f"a key with the role {key.role} may not do this")
        else:
            self._check_page(request)
        self._check_switches(kind, is_anybody=key is None)
        if kind in AUDITED and self._audit.blocks:
            raise AuditBlocked("what is managed cannot be written down: GATEWAY_AUDIT_FILE takes no lines")
        return Caller(key.name, key.role, key.models) if key else ANYBODY

    def _check_page(self, request: Request) -> None:
        """That it is no page of a stranger's that asks, where nobody needs a key."""
        origins = self._settings.origins
        host, origin = request.headers.get("host", ""), request.headers.get("origin")
        if origin is not None and not may_ask(origin, host, origins):
            raise Forbidden("pages from there may not ask: GATEWAY_CORS_ORIGINS lets them, and keys would")
        if origin is None and not may_be_asked(host, origins):
            raise Forbidden(
                "this name is not of this machine: GATEWAY_CORS_ORIGINS may have it, or make a key"
            )

    def _check_switches(self, kind: RouteClass, is_anybody: bool) -> None:
        managing_is_off = is_anybody and self._settings.admin_api == "off"
        if kind == "account" and self._settings.account_api == "off":
            needed = "GATEWAY_ADMIN_API=on and " if managing_is_off else ""
            raise Forbidden(
                f"the account is not for clients; {needed}GATEWAY_ACCOUNT_API=on makes it so. "
                "`ollama push` asks for it first, and then pushes to GATEWAY_PUSH_REGISTRIES"
            )
        if kind in AUDITED and managing_is_off:
            raise Forbidden("managing models is switched off here; GATEWAY_ADMIN_API=on switches it on")
        if kind == "web":
            check_web_search(self._settings)


def check_web_search(settings: Settings) -> None:
    """That Ollama may ask the web, which it does in the name of its account. Raises Forbidden."""
    if settings.web_search == "off":
        raise Forbidden("the web is not searched here; GATEWAY_WEB_SEARCH=on allows it")


def came_through_nginx(request: Request) -> bool:
    return EDGE_HEADER in request.headers


def _credentials(request: Request) -> list[str]:
    """As Anthropic's clients send a key, and as OpenAI's and Ollama's do. Who sends both may mean one of them
    for another server."""
    found = request.headers.getlist("x-api-key")
    for value in request.headers.getlist("authorization"):
        scheme, _, token = value.partition(" ")
        if scheme.lower() == "bearer":
            found.append(token.strip())
    return [text for text in found if text]

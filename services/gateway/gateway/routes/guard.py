"""What every route asks first: may this caller do this? Nothing of the request's body is read before."""

from fastapi import Request

from ..access.allow_list import EVERY_MODEL, AllowList
from ..access.pages import may_ask, may_be_asked
from ..access.roles import AUDITED, MAY, RouteClass
from ..errors import AuditBlocked, Drained, Forbidden
from ..settings import Settings
from ..state import State, record_of, state_of

# Longer than any path of Ollama's; it goes into a log.
MAX_PATH = 200

# nginx has it in every request, whatever a client sends: where those without a valid key are to be sent
# (nginx/snippets/failed-tries.conf).
EDGE_HEADER = "x-failed-try"


def check_open(request: Request, kind: RouteClass) -> AllowList:
    """Like `check_access`, for what is no longer begun when the gateway stops. Also raises Drained."""
    if state_of(request).draining:
        raise Drained("the gateway is restarting; send the request again")
    return check_access(request, kind)


def check_access(request: Request, kind: RouteClass) -> AllowList:
    """The models that the caller may know of. Raises Unauthorized, Forbidden."""
    state = state_of(request)
    record = record_of(request)
    key = state.keyring.key_of(_credentials(request))
    # Not before: those who have no key could wash everything else away.
    if kind in AUDITED:
        record.audited = f"{request.method} {request.scope['path'][:MAX_PATH]}"
    if key:
        record.key = key.name
        if kind not in MAY[key.role]:
            raise Forbidden(f"a key with the role {key.role} may not do this")
    else:
        _check_page(request, state.settings)
    _check_switches(state, kind, is_anybody=key is None)
    if kind in AUDITED and state.audit.blocks:
        raise AuditBlocked("what is managed cannot be written down: GATEWAY_AUDIT_FILE takes no lines")
    return key.models if key else EVERY_MODEL


def came_by_the_edge(request: Request) -> bool:
    return EDGE_HEADER in request.headers


def _check_page(request: Request, settings: Settings) -> None:
    """That it is no page of a stranger's that asks, where nobody needs a key."""
    host, origin = request.headers.get("host", ""), request.headers.get("origin")
    if origin is not None and not may_ask(origin, host, settings.origins):
        raise Forbidden("pages from there may not ask: GATEWAY_CORS_ORIGINS lets them, and keys would")
    if origin is None and not may_be_asked(host, settings.origins):
        raise Forbidden("this name is not of this machine: GATEWAY_CORS_ORIGINS may have it, or make a key")


def _check_switches(state: State, kind: RouteClass, is_anybody: bool) -> None:
    settings = state.settings
    managing_is_off = is_anybody and settings.admin_api == "off"
    if kind == "account" and settings.account_api == "off":
        needed = "GATEWAY_ADMIN_API=on and " if managing_is_off else ""
        raise Forbidden(
            f"the account is not for clients; {needed}GATEWAY_ACCOUNT_API=on makes it so. "
            "`ollama push` asks for it first, and then pushes to GATEWAY_PUSH_REGISTRIES"
        )
    if kind in AUDITED and managing_is_off:
        raise Forbidden("managing models is switched off here; GATEWAY_ADMIN_API=on switches it on")
    if kind == "web":
        state.egress.check_web()


def _credentials(request: Request) -> list[str]:
    """As Anthropic's clients send a key, and as OpenAI's and Ollama's do. Who sends both may mean one of them
    for another server."""
    found = request.headers.getlist("x-api-key")
    for value in request.headers.getlist("authorization"):
        scheme, _, token = value.partition(" ")
        if scheme.lower() == "bearer":
            found.append(token.strip())
    return [text for text in found if text]

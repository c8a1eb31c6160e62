"""`keep_alive`: how long a model stays in memory after an answer, which concerns everybody who uses it."""

from ..access.caller import Caller, is_admin
from ..settings import Settings
from .edits import Edits
from .fields import Fields
from .json_spans import Steps
from .route import Route

FIELD = "keep_alive"


def may_set(caller: Caller, settings: Settings) -> bool:
    match settings.keep_alive:
        case "any":
            return True
        case "auto" if not caller.name:  # there are no keys
            return True
        case _:
            return is_admin(caller, settings)


def is_set(fields: Fields) -> bool:
    return any(name.casefold() == FIELD for name, _ in fields.members)


def unloads(fields: Fields, route: Route) -> Steps[bool]:
    """Whether a request does nothing but unload a model, since it has no prompt and no messages."""
    value = fields.get(FIELD)
    # A duration such as "0s" or "0h0m".
    is_zero = isinstance(value, str) and "0" in value and not set(value) & set("123456789")
    if route.operation == "embeddings" or not (is_zero or (value == 0 and value is not False)):
        return False
    parts = yield from fields.parts("messages" if route.operation == "chat" else "prompt", 1)
    return not any(map(fields.value, parts))


def removed(body: bytes, fields: Fields) -> bytes:
    """A JSON body without the field."""
    names = {name for name, _ in fields.members if name.casefold() == FIELD}
    edits = Edits(body, f"sets {FIELD}")
    edits.remove(fields.members, body.index(b"{"), names)
    return edits.applied()

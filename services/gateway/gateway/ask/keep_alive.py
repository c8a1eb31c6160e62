"""`keep_alive`: how long a model stays in memory after an answer, which concerns everybody who uses it."""

from ..access.caller import Caller, is_admin
from ..settings import Settings
from .durations import duration_seconds
from .edits import Edits
from .fields import Fields
from .route import Route

FIELD = "keep_alive"

# What there is to answer, in Ollama's own API.
CONTENTS = ("messages", "prompt", "input")


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


def only_loads(fields: Fields, route: Route) -> bool:
    """Whether a request has nothing to answer: it loads its model, or unloads it."""
    return route.has_options and all(map(fields.is_empty, CONTENTS))


def seconds(fields: Fields, route: Route) -> float | None:
    """How long the model is to stay in memory after the answer, infinite if for ever; None if that is not
    said.
    """
    return duration_seconds(fields.get(FIELD)) if route.has_options else None


def removed(body: bytes, fields: Fields) -> bytes:
    """A JSON body without the field."""
    names = {name for name, _ in fields.members if name.casefold() == FIELD}
    edits = Edits(body, f"sets {FIELD}")
    edits.remove(fields.members, body.index(b"{"), names)
    return edits.applied()

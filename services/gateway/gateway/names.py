"""Models' names as Ollama reads them."""

import re

# [[host/]namespace/]model[:tag]
MODEL_NAME = re.compile(r"((\w[\w.:-]{0,349}/)?\w[\w-]{0,79}/)?\w[\w.-]{0,79}(:\w[\w.-]{0,79})?", re.ASCII)

# Of such names; * and ? stand for anything but a slash.
MODEL_PATTERN = re.compile(r"[\w.:/*?-]+", re.ASCII)

REGISTRY_NAME = re.compile(r"\w[\w.:-]{0,349}", re.ASCII)

# Whose models need no registry in their names.
REGISTRY = "registry.ollama.ai"

# As a tag it is none: Ollama takes it off and looks for the rest on its own machine.
LOCAL = ":local"


def full_name(model: str) -> str:
    """The name by which one is known here: Ollama compares without regard to case."""
    return shown(model).lower()


def shown(model: str) -> str:
    """The name as Ollama lists it. It takes `latest` for a tag that is not said; its own registry and that
    registry's `library` may be said, but it never lists them.
    """
    *place, name = model.split("/")
    if len(place) == 2 and place[0].lower() == REGISTRY:
        del place[0]
    if len(place) == 1 and place[0].lower() == "library":
        del place[0]
    return "/".join([*place, name if ":" in name else f"{name}:latest"])


def is_in_cloud(model: str) -> bool:
    """Whether Ollama passes a request for this name on to its cloud, whatever models it has itself."""
    _, colon, tag = model.rpartition(":")
    tag = tag.strip().lower()
    return bool(colon) and (tag == "cloud" or (tag.endswith("-cloud") and "/" not in tag))


def without_local(model: str) -> str:
    return model[: -len(LOCAL)] if model[-len(LOCAL) :].lower() == LOCAL else model


def requested_name(said: str) -> str:
    """The full name of the model that a request means by what it says."""
    return full_name(without_local(said.strip()))


def registry_of(model: str) -> str:
    """From where Ollama pulls it."""
    place = model.lower().split("/")
    return place[0] if len(place) == 3 else REGISTRY

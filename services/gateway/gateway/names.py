"""Model names as Ollama interprets them."""

import re
from functools import lru_cache

# [[host/]namespace/]model[:tag]
MODEL_NAME = re.compile(r"((\w[\w.:-]{0,349}/)?\w[\w-]{0,79}/)?\w[\w.-]{0,79}(:\w[\w.-]{0,79})?", re.ASCII)

# Pattern of such names; * and ? match anything but a slash.
MODEL_PATTERN = re.compile(r"[\w.:/*?-]+", re.ASCII)

REGISTRY_NAME = re.compile(r"\w[\w.:-]{0,349}", re.ASCII)

# The default registry, which names may omit.
REGISTRY = "registry.ollama.ai"

# Not a tag: Ollama strips this suffix and looks for the rest among its local models.
LOCAL = ":local"


# Looked up several times a request.
@lru_cache(maxsize=1024)
def full_name(model: str) -> str:
    """The canonical name: as listed, in lower case, because Ollama ignores case."""
    return shown(model).lower()


def shown(model: str) -> str:
    """The name as Ollama lists it: with the tag `latest` if none is given, and without the default registry
    and its namespace `library`.
    """
    *prefix, name = model.split("/")
    if len(prefix) == 2 and prefix[0].lower() == REGISTRY:
        del prefix[0]
    if len(prefix) == 1 and prefix[0].lower() == "library":
        del prefix[0]
    return "/".join([*prefix, name if ":" in name else f"{name}:latest"])


def is_in_cloud(model: str) -> bool:
    """Whether Ollama forwards requests for this name to its cloud, whatever models are installed."""
    _, colon, tag = model.rpartition(":")
    tag = tag.strip().lower()
    return bool(colon) and (tag == "cloud" or (tag.endswith("-cloud") and "/" not in tag))


def without_local(model: str) -> str:
    return model[: -len(LOCAL)] if model[-len(LOCAL) :].lower() == LOCAL else model


@lru_cache(maxsize=1024)
def requested_name(model: str) -> str:
    """The canonical name of the model that a request refers to."""
    return full_name(without_local(model.strip()))


def registry_of(model: str) -> str:
    """The registry from which Ollama pulls a model."""
    prefix = model.lower().split("/")
    return prefix[0] if len(prefix) == 3 else REGISTRY

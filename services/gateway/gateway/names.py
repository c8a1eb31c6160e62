"""Models' names as Ollama reads them."""

import re

# [[host/]namespace/]model[:tag]
MODEL_NAME = re.compile(r"((\w[\w.:-]{0,349}/)?\w[\w-]{0,79}/)?\w[\w.-]{0,79}(:\w[\w.-]{0,79})?", re.ASCII)


def full_name(model: str) -> str:
    """The name as Ollama lists it. It compares without regard to case and takes `latest` for a tag that is
    not said; its own registry and that registry's `library` may be said, but it never lists them.
    """
    *place, name = model.lower().split("/")
    if len(place) == 2 and place[0] == "registry.ollama.ai":
        del place[0]
    if place == ["library"]:
        del place[0]
    return "/".join([*place, name if ":" in name else f"{name}:latest"])

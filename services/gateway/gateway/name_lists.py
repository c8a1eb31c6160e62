"""Lists of names in settings, separated by commas or spaces."""

import re
from functools import partial

from .names import MODEL_NAME, MODEL_PATTERN, REGISTRY_NAME


def split(names: str) -> list[str]:
    return names.replace(",", " ").split()


def _check(pattern: re.Pattern[str], expected: str, names: str) -> None:
    for name in split(names):
        if not pattern.fullmatch(name):
            raise ValueError(f"{name!r} is not a valid {expected}, separated by commas or spaces")


# Each raises ValueError.
check_registries = partial(_check, REGISTRY_NAME, "registry; use hosts like registry.ollama.ai or hf.co")
check_patterns = partial(_check, MODEL_PATTERN, "model pattern; use patterns like llama3* or hf.co/org/*")
check_models = partial(_check, MODEL_NAME, "model name; use names like qwen2.5:1.5b or hf.co/user/model:tag")

"""Ollama's `options`, their defaults and llama.cpp's names for them."""

from collections.abc import Mapping
from typing import Any

from ...errors import EngineError

# Ollama's defaults. They are sent with every request, because llama.cpp's own differ.
_DEFAULTS = {"temperature": 0.8, "top_k": 40, "top_p": 0.9, "min_p": 0.0, "typical_p": 1.0}
_DEFAULTS |= {"repeat_last_n": 64, "repeat_penalty": 1.0, "presence_penalty": 0.0, "frequency_penalty": 0.0}
_DEFAULTS |= {"seed": -1, "n_keep": 4, "n_predict": -1}

_FLOATS = {"temperature", "top_p", "min_p", "typical_p", "repeat_penalty"}
_FLOATS |= {"presence_penalty", "frequency_penalty"}
_INTEGERS = {"num_keep", "seed", "num_predict", "top_k", "repeat_last_n", "num_ctx"}
# Options that Ollama applies to a whole runner. Here the engine's settings decide, so these are only checked.
_RUNNER_INTEGERS = {"num_batch", "num_gpu", "main_gpu", "num_thread", "draft_num_predict"}
_RUNNER_BOOLEANS = {"use_mmap"}

_RENAMED = {"num_keep": "n_keep", "num_predict": "n_predict"}


class OptionError(EngineError):
    """An option has the wrong type. Ollama answers 500."""

    def __init__(self, name: str, kind: str) -> None:
        super().__init__(f'option "{name}" must be {kind}')


def checked_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """The known options, converted to their types; unknown ones are ignored."""
    known: dict[str, Any] = {}
    for name, value in options.items():
        if value is None:
            continue
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if name in _INTEGERS | _RUNNER_INTEGERS:
            if not number:
                raise OptionError(name, "of type integer")
            known[name] = int(value)
        elif name in _FLOATS:
            if not number:
                raise OptionError(name, "of type float32")
            known[name] = float(value)
        elif name in _RUNNER_BOOLEANS:
            if not isinstance(value, bool):
                raise OptionError(name, "of type boolean")
        elif name == "stop":
            if not isinstance(value, list):
                raise OptionError(name, "of type array")
            if not all(isinstance(item, str) for item in value):
                raise OptionError(name, "of an array of strings")
            known[name] = value
    return known


def sampling(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options for llama.cpp, with defaults."""
    renamed = {_RENAMED.get(name, name): value for name, value in options.items()}
    sent = {name: renamed.get(name, default) for name, default in _DEFAULTS.items()}
    # To Ollama a number below one means no limit; to llama.cpp 0 is a limit.
    if sent["n_predict"] < 1:
        sent["n_predict"] = -1
    return sent | {"stop": renamed.get("stop", [])}


def context_size(options: Mapping[str, Any]) -> int | None:
    """The context size that a request asks for; Ollama's minimum is four tokens."""
    return max(options["num_ctx"], 4) if "num_ctx" in options else None

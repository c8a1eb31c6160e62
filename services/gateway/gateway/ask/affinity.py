"""What decides, besides the model, where a request is served best: load options and its conversation."""

import json
import math
from hashlib import blake2b

from .fields import Fields
from .json_spans import Steps

# Ollama reloads a model that is in memory with other values of these (api.Runner in its source).
RELOADING = ("num_ctx", "num_batch", "num_gpu", "main_gpu", "num_thread", "use_mmap", "draft_num_predict")

# Names and JSON values of such options.
LoadOptions = frozenset[tuple[str, str]]

# Where a conversation begins, in the four APIs. Ollama's `prompt` is a whole conversation of one turn.
BEGINNINGS = ("system", "instructions", "messages", "input", "prompt")

# A system prompt and the first message of a user.
FIRST_ITEMS = 4
MAX_BYTES = 16 * 1024


def load_options(fields: Fields) -> Steps[LoadOptions]:
    """The options with which the model has to be loaded, as Ollama reads them (api.Options.FromMap)."""
    options = yield from fields.merged("options")
    values = {name: _whole(fields.value(options[name])) for name in RELOADING if name in options}
    return frozenset(
        (name, json.dumps(value))
        for name, value in values.items()
        if _is_plain(value) and not (name == "num_gpu" and _is_negative(value))
    )


def beginning(fields: Fields) -> Steps[bytes]:
    """A digest of how the conversation begins, up to the user's first message; empty if there is none.

    Every turn of a conversation repeats its beginning, so its turns have the same digest.
    """
    digest = blake2b(digest_size=8)
    found = False
    for name in BEGINNINGS:
        for part in (yield from fields.parts(name, FIRST_ITEMS)):
            found = True
            digest.update(b"%b:%b\n" % (name.encode(), fields.text(part, MAX_BYTES)))
            message = yield from fields.of_part(part)
            if message.get("role") == "user":
                break
    return digest.digest() if found else b""


def _is_plain(value: object) -> bool:
    return isinstance(value, bool | int | float | str)


def _is_negative(value: object) -> bool:
    """As `num_gpu`, which is then the model server's choice, as without the option."""
    return isinstance(value, int | float) and value < 0


def _whole(value: object) -> object:
    """Ollama cuts the fraction of numbers off."""
    return int(value) if isinstance(value, float) and math.isfinite(value) else value

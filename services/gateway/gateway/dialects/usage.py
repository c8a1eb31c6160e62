"""What upstream says at the end of an answer: its tokens and, in Ollama's own APIs, where the time went."""

from dataclasses import dataclass, field
from typing import Any

SECOND = 1e9  # in the unit of Ollama's durations


@dataclass(slots=True)
class Usage:
    """`seconds`: total, load, prompt, generation; empty where nothing is said of them."""

    prompt_tokens: int
    output_tokens: int
    seconds: dict[str, float] = field(default_factory=dict)


def usage_of(fields: dict[str, Any]) -> Usage | None:
    """In any of the four APIs; None if `fields` does not have it. Ollama leaves out what is zero."""
    said = fields.get("usage")
    if isinstance(said, dict):
        names = ("prompt_tokens", "completion_tokens")
        prompt, output = names if names[0] in said else ("input_tokens", "output_tokens")
        return Usage(_number(said, prompt), _number(said, output))
    if "total_duration" not in fields and "prompt_eval_count" not in fields and "eval_count" not in fields:
        return None
    seconds = {
        "total": _number(fields, "total_duration") / SECOND,
        "load": _number(fields, "load_duration") / SECOND,
        "prompt": _number(fields, "prompt_eval_duration") / SECOND,
        "generation": _number(fields, "eval_duration") / SECOND,
    }
    counts = _number(fields, "prompt_eval_count"), _number(fields, "eval_count")
    return Usage(*counts, seconds if seconds["total"] else {})


def _number(fields: dict[str, Any], name: str) -> int:
    """What is no count there is taken for none: a metric that goes wrong must not take an answer with it."""
    value = fields.get(name)
    return value if isinstance(value, int) and 0 <= value < 2**63 else 0

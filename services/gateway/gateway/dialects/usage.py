"""Usage reported at the end of an answer: token counts and, in Ollama's own API, durations."""

from dataclasses import dataclass, field
from typing import Any

SECOND = 1e9  # in the unit of Ollama's durations


@dataclass(slots=True)
class Usage:
    """`seconds` has total, load, prompt and generation; empty if not reported."""

    prompt_tokens: int
    output_tokens: int
    seconds: dict[str, float] = field(default_factory=dict)


def usage_of(fields: dict[str, Any]) -> Usage | None:
    """Usage in the format of any of the four APIs, or None. Ollama omits zero counts."""
    usage = fields.get("usage")
    if isinstance(usage, dict):
        names = ("prompt_tokens", "completion_tokens")
        prompt, output = names if names[0] in usage else ("input_tokens", "output_tokens")
        return Usage(_number(usage, prompt), _number(usage, output))
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
    """A count, 0 if it is invalid: a bad count must not fail the answer."""
    value = fields.get(name)
    return value if isinstance(value, int) and 0 <= value < 2**63 else 0

"""Converts OpenAI's reasoning effort to Ollama's `think`."""

from ...errors import BadRequestError

# OpenAI's scale is longer at both ends.
_THINK: dict[str, bool | str | None] = {
    "": None,
    "none": False,
    "minimal": "low",
    **{effort: effort for effort in ("low", "medium", "high", "max")},
    "xhigh": "max",
    "ultra": "max",
}
_KNOWN = '"minimal", "low", "medium", "high", "xhigh", "ultra", "max", or "none"'


def think_of_effort(effort: str) -> bool | str | None:
    try:
        return _THINK[effort]
    except KeyError:
        raise BadRequestError(f'invalid reasoning value: "{effort}" (must be {_KNOWN})') from None

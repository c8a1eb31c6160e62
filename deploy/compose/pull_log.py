"""The log of the one-shot that pulls the models, told to people."""

import json
from dataclasses import dataclass
from typing import Any

SERVICE = "models"
_NOT_FOR_PEOPLE = {"event", "level", "logger", "model", "timestamp"}


@dataclass(frozen=True)
class Line:
    words: str
    advances: bool
    """Whether a pull is under way, so that it pays to wait."""


def read(line: str) -> Line:
    """Takes any line: what is not known is passed on as it is."""
    try:
        told = json.loads(line)
    except ValueError:
        told = None
    if not isinstance(told, dict):
        return Line(line.strip(), advances=False)
    event, model = told.get("event"), told.get("model", "a model")
    if event == "pulling":
        return Line(f"{model}: {_progress(told)}", advances=True)
    if event == "pulled":
        return Line(f"{model} is there", advances=True)
    if event == "pull_failed":
        again = told.get("retry_in_seconds")
        words = f"{model} could not be pulled: {told.get('reason')}"
        return Line(
            words + (f"; again in {again:.0f} s" if isinstance(again, int | float) else ""), advances=False
        )
    if event == "pull_refused":
        return Line(f"{model} cannot be had: {told.get('reason')}", advances=False)
    if event == "models_missing":
        return Line(f"missing: {', '.join(told.get('models') or ())}; {told.get('todo')}", advances=False)
    rest = [f"{name}={value}" for name, value in told.items() if name not in _NOT_FOR_PEOPLE]
    return Line(" ".join([str(event or "").replace("_", " "), *rest]).strip(), advances=False)


def _progress(told: dict[str, Any]) -> str:
    status = str(told.get("status") or "pulling")
    # Ollama names the layer by the start of its digest, which tells people nothing.
    what = "pulling" if status.startswith("pulling ") else status
    if told.get("progress"):
        return f"{what}, {told['progress']}"
    return f"{what}, {told['percent']}%" if "percent" in told else what

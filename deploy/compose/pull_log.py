"""The log of the one-shot container that pulls the models, in words for people."""

import json
from dataclasses import dataclass, replace
from typing import Any

SERVICE = "models"
_HIDDEN = {"event", "level", "logger", "model", "server", "timestamp"}


@dataclass(frozen=True)
class Line:
    text: str
    advances: bool
    """Whether a pull is making progress, so that it is worth waiting."""


def read(line: str) -> Line:
    """Takes any line; one that it does not know is returned as it is."""
    try:
        entry = json.loads(line)
    except ValueError:
        entry = None
    if not isinstance(entry, dict):
        return Line(line.strip(), advances=False)
    known = _in_words(entry)
    # Where there are several.
    return replace(known, text=f"{entry['server']}: {known.text}") if entry.get("server") else known


def _in_words(entry: dict[str, Any]) -> Line:
    event, model = entry.get("event"), entry.get("model", "a model")
    if event == "pulling":
        return Line(f"{model}: {_progress(entry)}", advances=True)
    if event == "pulled":
        return Line(f"{model} is ready", advances=True)
    if event == "pull_failed":
        again = entry.get("retry_in_seconds")
        text = f"{model} could not be pulled: {entry.get('reason')}"
        return Line(
            text + (f"; next try in {again:.0f} s" if isinstance(again, int | float) else ""), advances=False
        )
    if event == "pull_refused":
        return Line(f"{model} cannot be pulled: {entry.get('reason')}", advances=False)
    if event == "models_missing":
        return Line(f"missing: {', '.join(entry.get('models') or ())}; {entry.get('todo')}", advances=False)
    rest = [f"{name}={value}" for name, value in entry.items() if name not in _HIDDEN]
    return Line(" ".join([str(event or "").replace("_", " "), *rest]).strip(), advances=False)


def _progress(entry: dict[str, Any]) -> str:
    status = str(entry.get("status") or "pulling")
    # Ollama names the layer by the start of its digest, which means nothing to people.
    what = "pulling" if status.startswith("pulling ") else status
    if entry.get("progress"):
        return f"{what}, {entry['progress']}"
    return f"{what}, {entry['percent']}%" if "percent" in entry else what

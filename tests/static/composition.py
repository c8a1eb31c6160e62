"""compose.yaml as Compose interprets it: variables substituted and `extends` resolved.

Reimplemented here, so that these tests do not need Compose.
"""

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from tests.processes import ROOT

COMPOSE = ROOT / "compose.yaml"

Service = dict[str, Any]

# ${NAME}, $NAME, and ${NAME:-default} with its variants. Nested braces are substituted from the inside out.
VARIABLE = re.compile(
    r"\$(?:\{(?P<braced>\w+)(?:(?P<operator>:?[-+?])(?P<word>[^{}]*))?\}|(?P<plain>[A-Za-z_]\w*))"
)
DOLLAR = "\0"

# With `extends`, lists under these keys are replaced instead of merged.
REPLACED = {"command", "entrypoint", "test"}


def services(environment: Mapping[str, str]) -> dict[str, Service]:
    return {name: _service(COMPOSE, name, environment) for name in _load(COMPOSE)["services"]}


def composition(environment: Mapping[str, str]) -> dict[str, Any]:
    """The whole file as one document, without references to others."""
    rest = {key: value for key, value in _load(COMPOSE).items() if not key.startswith("x-")}
    filled: dict[str, Any] = _fill(rest, environment)
    return {**filled, "services": services(environment)}


def variables(service: Service) -> dict[str, str | None]:
    """The service's environment; None for variables passed through from Compose's environment."""
    return _pairs(service.get("environment", {}))


def dockerfile(service: Service) -> str:
    """The last stage of the service's Dockerfile; empty if the image is not built here."""
    build = service.get("build", {})
    if "dockerfile_inline" in build:
        text = str(build["dockerfile_inline"])
    elif build:
        context = build if isinstance(build, str) else build["context"]
        text = (ROOT / context / "Dockerfile").read_text()
    else:
        return ""
    return re.split(r"^FROM ", text, flags=re.MULTILINE)[-1]


def _service(path: Path, name: str, environment: Mapping[str, str]) -> Service:
    own: Service = _fill(_load(path)["services"][name], environment)
    if "environment" in own:
        own["environment"] = _pairs(own["environment"])
    if isinstance(own.get("networks"), list):
        own["networks"] = {network: {} for network in own["networks"]}
    base = own.pop("extends", None)
    if base is None:
        return own
    base_path = path.parent / base["file"] if "file" in base else path
    merged: Service = _merge(_service(base_path, base["service"], environment), own)
    return merged


@cache
def _load(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(path.read_text())
    return document


def _merge(base: Any, own: Any) -> Any:
    if isinstance(base, dict) and isinstance(own, dict):
        merged = {
            key: _merge(base[key], value) if key in base and key not in REPLACED else value
            for key, value in own.items()
        }
        return {**base, **merged}
    if isinstance(base, list) and isinstance(own, list):
        return base + [item for item in own if item not in base]
    return own


def _pairs(environment: Any) -> dict[str, str | None]:
    if isinstance(environment, dict):
        return {name: None if value is None else str(value) for name, value in environment.items()}
    pairs = (item.partition("=") for item in environment)
    return {name: value if equals else None for name, equals, value in pairs}


def _fill(value: Any, environment: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _fill(item, environment) for key, item in value.items()}
    if isinstance(value, list):
        return [_fill(item, environment) for item in value]
    return fill_text(value, environment) if isinstance(value, str) else value


def fill_text(text: str, environment: Mapping[str, str]) -> str:
    """Raises ValueError if a required variable is not set."""

    def of_variable(match: re.Match[str]) -> str:
        set_to = environment.get(match["braced"] or match["plain"])
        operator, word = match["operator"] or ":-", match["word"] or ""
        counts = bool(set_to) if operator.startswith(":") else set_to is not None
        if operator.endswith("?") and not counts:
            raise ValueError(f"{match[0]} must be set")
        if operator.endswith("+"):
            return word if counts else ""
        return (set_to or "") if counts else word

    text = text.replace("$$", DOLLAR)
    while (filled := VARIABLE.sub(of_variable, text)) != text:
        text = filled
    return text.replace(DOLLAR, "$")

"""Aliases of models as settings name them: `gpt-4o-mini=qwen2.5:1.5b, fast=llama3.2:1b|qwen2.5:1.5b`."""

from collections.abc import Iterable
from typing import NamedTuple

from .names import MODEL_NAME, full_name


class Alias(NamedTuple):
    """`name` as it is written; the first of `targets` is preferred."""

    name: str
    targets: tuple[str, ...]


def parse_aliases(text: str) -> dict[str, Alias]:
    """The aliases by their full names. Raises ValueError."""
    aliases: dict[str, Alias] = {}
    for part in filter(None, map(str.strip, text.split(","))):
        alias = _alias(part)
        if full_name(alias.name) in aliases:
            raise ValueError(f"{alias.name} occurs twice; write several models as {alias.name}=a|b")
        aliases[full_name(alias.name)] = alias
    for alias in aliases.values():
        for target in alias.targets:
            if full_name(target) in aliases:
                raise ValueError(f"{alias.name}={target}: {target} is an alias too; name a model")
    return aliases


def _alias(text: str) -> Alias:
    name, equals, targets = map(str.strip, text.partition("="))
    if not equals or not targets:
        raise ValueError(f"{text!r} has no model; use alias=model, or alias=model|model for several")
    alias = Alias(name, tuple(map(str.strip, targets.split("|"))))
    _check(text, (alias.name, *alias.targets))
    return alias


def _check(text: str, names: Iterable[str]) -> None:
    for name in names:
        if not MODEL_NAME.fullmatch(name):
            raise ValueError(
                f"{text!r}: {name!r} is not a valid model name; use names like qwen2.5:1.5b, "
                "| between several models and a comma after each alias"
            )

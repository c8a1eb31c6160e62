"""Lists of the models of several servers as one."""

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any

from ..errors import GatewayError
from ..names import full_name
from .backend import Backend
from .change import worded

Fields = dict[str, Any]


async def union(backends: Sequence[Backend], path: str, field: str, name: str, seconds: float) -> Fields:
    """The lists at `path` in their `field`, each model once, by its `name`, as its first server describes it,
    and with the names of its `servers`.

    Without servers that do not answer within `seconds`. Raises GatewayError if none does.
    """
    # One that is silent is not waited for each time.
    asked = [backend for backend in backends if backend.up] or backends
    answers: dict[str, Fields] = {}
    failures: list[GatewayError] = []

    async def ask(backend: Backend) -> None:
        try:
            answer = await backend.upstream.get_json(path, seconds)
        except GatewayError as failure:
            failures.append(failure.with_traceback(None))  # it references this frame: a cycle
        else:
            answers[backend.name] = answer if isinstance(answer, dict) else {}

    await asyncio.gather(*(ask(backend) for backend in asked))
    if not answers:
        raise worded(failures[0], failures[0].message)
    found: dict[str, Fields] = {}
    for backend in asked:
        for item in _items(answers.get(backend.name, {}), field, name):
            there = found.setdefault(full_name(item[name]), {**item, "servers": []})
            there["servers"].append(backend.name)
    return {**_common([*answers.values()]), field: [*found.values()]}


def _items(answer: Fields, field: str, name: str) -> Iterator[Fields]:
    """The items that name a model."""
    items = answer.get(field)
    for item in items if isinstance(items, list) else ():
        if isinstance(item, dict) and isinstance(item.get(name), str):
            yield item


def _common(answers: Sequence[Fields]) -> Fields:
    """The fields that all answers agree on."""
    first, *others = answers
    return {
        field: value
        for field, value in first.items()
        if all(field in other and other[field] == value for other in others)
    }

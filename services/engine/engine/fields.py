"""Checks the types of a request's fields, with the words of Go's JSON decoder."""

from collections.abc import Mapping
from typing import Any

from .errors import BadRequestError

Fields = Mapping[str, str]
"""Each known field with its type in Go."""

_KINDS: dict[type, str] = {
    bool: "bool",
    int: "number",
    float: "number",
    str: "string",
    list: "array",
    dict: "object",
}


def checked(value: object, fields: Fields, target: str, prefix: str) -> dict[str, Any]:
    """The object without its nulls, which mean the same as leaving the field out.

    `target` is what the object is decoded into, `prefix` what the names of its fields begin with.
    """
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise mismatch(value, target)
    present = {key: item for key, item in value.items() if item is not None}
    for key, item in present.items():
        if (kind := fields.get(key)) and not _fits(item, kind):
            raise mismatch(item, f"Go struct field {prefix}.{key} of type {kind}")
    return present


def mismatch(value: object, target: str) -> BadRequestError:
    kind = _KINDS[type(value)]
    # Only a number of the wrong kind is quoted.
    said = f"{kind} {value}" if isinstance(value, float) and target.endswith(" int") else kind
    return BadRequestError(f"json: cannot unmarshal {said} into {target}")


def _fits(value: object, kind: str) -> bool:
    if kind.startswith("[]"):
        return isinstance(value, list)
    if kind == "int" and isinstance(value, float):
        return False
    expected = {"bool": "bool", "int": "number", "string": "string"}.get(kind, "object")
    return _KINDS[type(value)] == expected

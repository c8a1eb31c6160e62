"""Checks JSON objects as Go's decoder does when it fills a struct, with its error messages."""

from collections.abc import Mapping
from functools import cache
from typing import Any

from ...errors import BadRequestError

Fields = Mapping[str, str]
"""Each field with its type in Go; `any` accepts everything."""

_KINDS: dict[type, str] = {
    bool: "bool",
    int: "number",
    float: "number",
    str: "string",
    list: "array",
    dict: "object",
}


def checked(value: object, fields: Fields, target: str, prefix: str) -> dict[str, Any]:
    """The known fields of an object. Raises BadRequestError if the value or a field has the wrong type.

    Null is the same as absent, field names are case-insensitive, and unknown fields are ignored. In error
    messages `target` names what the value is decoded into and `prefix` comes before the names of fields.
    """
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise mismatch(value, target)
    present: dict[str, Any] = {}
    for key, item in value.items():
        name = key if key in fields else key.casefold()
        kind = fields.get(name)
        if item is None or kind is None:
            continue
        if type(item) not in _types(kind) or (kind == "int" and not -(2**63) <= item < 2**63):
            raise mismatch(item, f"Go struct field {prefix}.{name} of type {kind}")
        present[name] = item
    return present


def mismatch(value: object, target: str) -> BadRequestError:
    kind = kind_of(value)
    # Go quotes only numbers that are no integers where one is expected.
    found = f"{kind} {value}" if kind == "number" and target.endswith(" int") else kind
    return BadRequestError(f"json: cannot unmarshal {found} into {target}")


def kind_of(value: object) -> str:
    return _KINDS[type(value)]


def go_type(value: object) -> str:
    """Go's name for the type of a value decoded into an `any`."""
    names = {"number": "float64", "array": "[]interface {}", "object": "map[string]interface {}"}
    return "<nil>" if value is None else names.get(kind_of(value), kind_of(value))


@cache
def _types(kind: str) -> frozenset[type]:
    """The Python types that a Go type accepts."""
    numbers = frozenset((int, float))
    known = {"any": frozenset(_KINDS), "int": frozenset((int,)), "float32": numbers, "float64": numbers}
    known |= {"bool": frozenset((bool,)), "string": frozenset((str,))}
    return known.get(kind, frozenset((list if kind.startswith("[]") else dict,)))

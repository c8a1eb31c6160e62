"""Objects with known fields, read as Go's JSON decoder reads them into a struct, and with its words."""

from collections.abc import Mapping
from functools import cache
from typing import Any

from .errors import BadRequestError

Fields = Mapping[str, str]
"""Each field with its type in Go; `any` takes whatever there is."""

_KINDS: dict[type, str] = {
    bool: "bool",
    int: "number",
    float: "number",
    str: "string",
    list: "array",
    dict: "object",
}


def checked(value: object, fields: Fields, target: str, prefix: str) -> dict[str, Any]:
    """The fields of an object, without those that are null, which means the same as leaving them out.

    Names are matched without regard to case, and what is not known is ignored. `target` is what the
    object is decoded into, `prefix` what the names of its fields begin with.
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
    # Only a number of the wrong kind is quoted.
    said = f"{kind} {value}" if kind == "number" and target.endswith(" int") else kind
    return BadRequestError(f"json: cannot unmarshal {said} into {target}")


def kind_of(value: object) -> str:
    return _KINDS[type(value)]


def go_type(value: object) -> str:
    """What Go calls a value that it has decoded into anything."""
    names = {"number": "float64", "array": "[]interface {}", "object": "map[string]interface {}"}
    return "<nil>" if value is None else names.get(kind_of(value), kind_of(value))


@cache
def _types(kind: str) -> frozenset[type]:
    """What a type of Go takes."""
    numbers = frozenset((int, float))
    known = {"any": frozenset(_KINDS), "int": frozenset((int,)), "float32": numbers, "float64": numbers}
    known |= {"bool": frozenset((bool,)), "string": frozenset((str,))}
    return known.get(kind, frozenset((list if kind.startswith("[]") else dict,)))

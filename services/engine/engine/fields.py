"""Objects with known fields, read as Go's JSON decoder reads them into a struct, and with its words."""

from collections.abc import Mapping
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
_EXPECTED = {"bool": "bool", "int": "number", "float32": "number", "float64": "number", "string": "string"}


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
        if item is None or name not in fields:
            continue
        if not _fits(item, fields[name]):
            raise mismatch(item, f"Go struct field {prefix}.{name} of type {fields[name]}")
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


def _fits(value: object, kind: str) -> bool:
    if kind == "any":
        return True
    if kind.startswith("[]"):
        return isinstance(value, list)
    if kind == "int" and not (isinstance(value, int) and -(2**63) <= value < 2**63):
        return False
    return kind_of(value) == _EXPECTED.get(kind, "object")

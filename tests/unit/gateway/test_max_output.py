"""A request's limit of output tokens is lowered, whatever its body looks like; nothing else is changed."""

import json
import math
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.ask.edits import MAX_EDITS
from gateway.ask.max_output import limited
from gateway.ask.route import Route
from gateway.errors import InvalidRequest
from gateway.routes.table import CHAT_ROUTE, PASSED_ON
from tests.unit.gateway.bodies import read_fields, taken

ROUTES = {route.path: route for route in (CHAT_ROUTE, *PASSED_ON) if route.length_fields}
NATIVE = [path for path, route in ROUTES.items() if route.has_options]
OTHERS = [path for path in ROUTES if path not in NATIVE]
MOST = 100


def sent(path: str, body: str, most: int = MOST) -> str:
    data = body.encode(errors="surrogatepass")
    return taken(limited(data, read_fields(data), ROUTES[path], most)).decode(errors="surrogatepass")


class Refused(Exception):
    """The model server answers 400."""


class Pairs(list[tuple[str, Any]]):
    """An object with all of its members, in order."""


def decoded(body: str) -> Pairs:
    found = json.loads(body, object_pairs_hook=Pairs)
    assert isinstance(found, Pairs)
    return found


def ollamas_options(pairs: Pairs) -> dict[str, Any]:
    """As Go's encoding/json fills a map: objects are merged, null discards them."""
    options: dict[str, Any] = {}
    for name, value in pairs:
        if name.casefold() == "options":
            if value is None:
                options = {}
            elif isinstance(value, Pairs):
                options |= value
            else:
                raise Refused
    return options


def is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def ollamas_limit(path: str, body: str) -> float:
    """The tokens that Ollama generates at most. Raises Refused."""
    if path in NATIVE:
        value = ollamas_options(decoded(body)).get("num_predict")
    else:
        name = ROUTES[path].length_fields[0]
        values = [found for key, found in decoded(body) if key.casefold() == name]
        if not all(found is None or is_number(found) for found in values):
            raise Refused
        value = values[-1] if values else None
    if value is None:
        return math.inf
    if not is_number(value) or math.isinf(value):
        raise Refused
    whole = int(value)
    return whole if 1 <= whole < 2**63 else math.inf


def others(path: str, pairs: Pairs) -> list[Any]:
    """Everything but the limits."""
    names = ROUTES[path].length_fields
    if path not in NATIVE:
        return [(name, value) for name, value in pairs if name.casefold() not in names]
    top = [(name, value) for name, value in pairs if name.casefold() != "options"]
    options = ollamas_options(pairs)
    return [*top, sorted((name, repr(options[name])) for name in options if name.casefold() not in names)]


NAMES = ["max_tokens", "MAX_TOKENS", "max_to\u212aens", "max_completion_tokens", "max_output_tokens"]
NAMES += [
    "num_predict",
    "Num_Predict",
    "options",
    "Options",
    "option\u017f",
    "temperature",
    "model",
    "",
    "é\ud800",
]
NUMBERS = (
    st.integers(-(2**70), 2**70)
    | st.integers(-3, 3 + MOST)
    | st.floats(allow_nan=False, allow_infinity=False)
)
SCALARS = st.none() | st.booleans() | NUMBERS | st.text(max_size=5)


def objects(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(st.tuples(st.sampled_from(NAMES), values), max_size=5).map(Pairs)


VALUES = SCALARS | st.lists(SCALARS, max_size=3) | objects(SCALARS | objects(SCALARS))


def written(value: object, space: str) -> str:
    if isinstance(value, Pairs):
        members = [f"{json.dumps(name)}{space}:{space}{written(inner, space)}" for name, inner in value]
        return f"{{{space}{f'{space},{space}'.join(members)}{space}}}"
    return json.dumps(value)


@pytest.mark.parametrize("path", ROUTES)
@settings(max_examples=100, deadline=None)
@given(pairs=objects(VALUES), space=st.sampled_from(["", " ", "\r\n\t"]))
@example(pairs=Pairs([("MAX_TOKENS", 1), ("max_completion_tokens", 0)]), space="")
def test_no_body_asks_for_more_than_the_limit_and_all_else_is_unchanged(
    path: str, pairs: Pairs, space: str
) -> None:
    body = f"{space}{written(pairs, space)}{space}"
    limited_body = sent(path, body)
    try:
        assert ollamas_limit(path, limited_body) <= MOST
    except Refused:
        with pytest.raises(Refused):
            ollamas_limit(path, body)
        return
    try:
        requested = ollamas_limit(path, body)
        unlimited = others(path, decoded(body))
    except Refused:
        return
    assert others(path, decoded(limited_body)) == unlimited
    if requested <= MOST:
        assert ollamas_limit(path, limited_body) == requested


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ('{"model":"m"}', '{"model":"m","options":{"num_predict":100}}'),
        ("{}", '{"options":{"num_predict":100}}'),
        (' { "model" : "m" }\n', ' { "model" : "m","options":{"num_predict":100} }\n'),
        ('{"options": {}}', '{"options": {"num_predict":100}}'),
        ('{"options":{"seed":1 }}', '{"options":{"seed":1,"num_predict":100 }}'),
        ('{"options":{"num_predict":5}}', '{"options":{"num_predict":5}}'),
        ('{"options":{"num_predict":100.0}}', '{"options":{"num_predict":100.0}}'),
        ('{"options":{"num_predict": 101 }}', '{"options":{"num_predict": 100 }}'),
        ('{"options":{"num_predict":-1}}', '{"options":{"num_predict":100}}'),
        ('{"options":{"num_predict":0}}', '{"options":{"num_predict":100}}'),
        ('{"options":{"num_predict":0.5}}', '{"options":{"num_predict":100}}'),
        ('{"options":{"num_predict":1e300}}', '{"options":{"num_predict":100}}'),
        ('{"options":{"num_predict":"5"}}', '{"options":{"num_predict":"5"}}'),
        ('{"options":{"num_predict":null}}', '{"options":{"num_predict":null,"num_predict":100}}'),
        (
            '{"options":{"num_predict":5},"Options":{"seed":1}}',
            '{"options":{"num_predict":5},"Options":{"seed":1,"num_predict":5}}',
        ),
        (
            '{"options":{"num_predict":5},"options":null}',
            '{"options":{"num_predict":5},"options":null,"options":{"num_predict":100}}',
        ),
        ('{"options":{"Num_Predict":5}}', '{"options":{"Num_Predict":5,"num_predict":5}}'),
        ('{"messages":[{"options":{"num_predict":-1}}],"options":{"num_predict":5}}',) * 2,
        ('{"options":"none"}', '{"options":"none"}'),
    ],
)
def test_ollamas_num_predict(body: str, expected: str) -> None:
    for path in NATIVE:
        assert sent(path, body) == expected


@pytest.mark.parametrize("path", OTHERS)
def test_the_field_of_the_other_apis(path: str) -> None:
    name = ROUTES[path].length_fields[0]
    assert sent(path, '{"model":"m"}') == f'{{"model":"m","{name}":100}}'
    assert sent(path, f'{{"{name}":101}}') == f'{{"{name}":100}}'
    assert sent(path, f'{{"{name}":-1}}') == f'{{"{name}":100}}'
    assert sent(path, f'{{"{name}":99}}') == f'{{"{name}":99}}'
    assert sent(path, f'{{"{name}":5,"{name.upper()}":null}}').endswith(f':null,"{name}":5}}')
    assert sent(path, f'{{"{name}":"99"}}') == f'{{"{name}":"99"}}'
    assert sent(path, f'{{"{name}":5,"{name}":null}}') == f'{{"{name}":5,"{name}":null,"{name}":5}}'


def test_openais_newer_field_is_lowered_too_and_repeated_under_the_name_that_ollama_reads() -> None:
    path = "/v1/chat/completions"
    newer = "max_completion_tokens"
    assert sent(path, f'{{"{newer}":5}}') == f'{{"{newer}":5,"max_tokens":5}}'
    assert sent(path, f'{{"{newer}":500}}') == f'{{"{newer}":100,"max_tokens":100}}'
    assert sent(path, f'{{"max_tokens":7,"{newer}":null}}') == f'{{"max_tokens":7,"{newer}":null}}'
    assert sent(path, f'{{"max_tokens":7,"{newer}":500}}') == f'{{"max_tokens":7,"{newer}":100}}'


def test_every_route_that_generates_text_from_json_has_a_limit() -> None:
    generating = {
        route.path
        for route in (CHAT_ROUTE, *PASSED_ON)
        if route.operation in ("chat", "text_completion", "generate_content") and not route.form
    }
    assert generating == set(ROUTES)


def test_a_route_without_a_limit_and_an_empty_body_are_left_alone() -> None:
    route = cast(Route, SimpleNamespace(length_fields=(), has_options=True))
    body = b'{"options":{"num_predict":-1}}'
    assert taken(limited(body, read_fields(body), route, MOST)) is body
    assert taken(limited(b" ", read_fields(b" "), ROUTES["/api/chat"], MOST)) == b" "


def test_a_body_that_needs_very_many_changes_is_refused() -> None:
    limits = ",".join(['"max_tokens":-1'] * MAX_EDITS)
    assert sent("/v1/messages", f"{{{limits}}}").count(":100") == MAX_EDITS
    with pytest.raises(InvalidRequest, match="max_tokens too many times"):
        sent("/v1/messages", f'{{{limits},"max_tokens":-1}}')


def test_a_limit_that_is_not_json_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="not valid JSON near byte 14"):
        sent("/v1/messages", '{"max_tokens":5x}')

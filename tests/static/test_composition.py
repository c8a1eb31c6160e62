"""Variables are substituted as Compose's documentation describes."""

import pytest

from tests.static.composition import fill_text

SET = {"SET": "value", "EMPTY": ""}


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("$SET and ${SET}", "value and value"),
        ("[$UNSET${UNSET}]", "[]"),
        ("${SET:-other} ${EMPTY:-other} ${UNSET:-other}", "value other other"),
        ("${SET-other} ${EMPTY-other} ${UNSET-other}", "value  other"),
        ("${SET:+other} ${EMPTY:+other} ${UNSET+other}", "other  "),
        ("${UNSET:-${EMPTY:-innermost}}", "innermost"),
        ("$$SET $${SET} ${UNSET:-$$}", "$SET ${SET} $"),
        ("${SET:?needed}:8000", "value:8000"),
    ],
)
def test_variables_are_substituted(text: str, filled: str) -> None:
    assert fill_text(text, SET) == filled


def test_a_required_variable_that_is_empty_is_an_error() -> None:
    with pytest.raises(ValueError, match="EMPTY"):
        fill_text("${EMPTY:?needed}", SET)

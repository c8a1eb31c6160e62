"""The .env file means the same to the native run and to Compose."""

import pytest

from deploy.settings import dotenv


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("PORT=9000\n# BIND=0.0.0.0\n\nTLS=on", {"PORT": "9000", "TLS": "on"}),
        ("A=b # why\nC=d#e\nF= # nothing", {"A": "b", "C": "d#e", "F": ""}),
        ("A='b # c $X' # d\nE=\"f # g\"\nH=i", {"A": "b # c $X", "E": "f # g", "H": "i"}),
        ("export A = b  \n  C=d e ", {"A": "b", "C": "d e"}),
        (r'A="b\"c\nd"', {"A": 'b"c\nd'}),
        ("A=b\nC=${A}/$A/${NONE:-d}/${NONE}/${OUTSIDE}", {"A": "b", "C": "b/b/d//o"}),
        ("A=b$$c\nC='$$'", {"A": "b$c", "C": "$$"}),
        ("A=${EMPTY:-d}${EMPTY-d}\nB=${OUTSIDE:+y}${NONE+y}", {"A": "d", "B": "y"}),
        ("A=b\r\nC=d\r\n", {"A": "b", "C": "d"}),
    ],
)
def test_dotenv_is_read_as_compose_reads_it(text: str, values: dict[str, str]) -> None:
    assert dotenv.parse(text, {"OUTSIDE": "o", "EMPTY": ""}) == values

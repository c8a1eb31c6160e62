"""Which ports a stack without Docker may have."""

import pytest

from deploy.native.stack import check_ports, read_stack
from deploy.settings.values import BadSetting


@pytest.mark.parametrize(
    ("variable", "port", "other"),
    [
        ("PORT", "8001", "GATEWAY_PORT"),
        ("PORT", "11435", "ENGINE_PORT"),
        ("GATEWAY_PORT", "11435", "ENGINE_PORT"),
    ],
)
def test_two_programs_cannot_have_the_same_port(
    monkeypatch: pytest.MonkeyPatch, variable: str, port: str, other: str
) -> None:
    monkeypatch.setenv(variable, port)
    with pytest.raises(
        BadSetting, match=f"{variable} and {other} are both {port}; choose another {variable}=…"
    ):
        check_ports(read_stack())

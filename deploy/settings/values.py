"""Values of settings: how they are checked, and the defaults that both runs share."""

BIND = "127.0.0.1"
PORT = 8000
# Small, and it answers well on a CPU.
MODEL = "qwen2.5:1.5b"


class BadSetting(Exception):
    """The stack cannot run with this environment; the message names the variable and says what to do."""


def parse_port(variable: str, value: str) -> int:
    """Raises BadSetting."""
    if not value.isdecimal() or not 1 <= int(value) <= 65535:
        raise BadSetting(f"{variable} must be a port between 1 and 65535, not {value!r}")
    return int(value)

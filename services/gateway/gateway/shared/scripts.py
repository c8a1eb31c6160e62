"""The Lua scripts beside this module, each one step in Valkey."""

from pathlib import Path


def script(name: str) -> str:
    return (Path(__file__).parent / f"{name}.lua").read_text()

"""One way through the house: a module imports only from the floors below its own."""

import ast
from pathlib import Path

import gateway

ROOT = Path(gateway.__file__).parent
FLOORS = [
    {"redaction"},
    {"names", "errors", "origins", "limits", "servers", "shared_url", "garbage", "turnstile"},
    {"aliases", "name_lists"},
    {"settings"},
    {"telemetry"},
    {"dialects"},
    {"access"},
    {"ask"},
    {"backends"},
    {"policy"},
    {"admission"},
    {"streaming"},
    {"answers"},
    {"shared"},
    {"state"},
    {"routes"},
    {"http"},
    {"app", "server"},
    {"commands"},
    {"cli"},
]
HEIGHT = {room: height for height, floor in enumerate(FLOORS) for room in floor}


def imports(path: Path) -> set[str]:
    """The rooms of the gateway that the module imports from."""
    package = path.relative_to(ROOT).parent.parts
    rooms = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = package[: len(package) - node.level + 1]
            full = (*base, *(node.module or "").split("."))
            rooms.update({full[0]} if full[0] else {alias.name for alias in node.names})
    return rooms - {"__version__"}


def test_imports_go_downwards_only() -> None:
    for path in ROOT.rglob("*.py"):
        room = path.relative_to(ROOT).with_suffix("").parts[0]
        for other in imports(path) - {room}:
            assert room == "__init__" or HEIGHT[other] < HEIGHT[room], (
                f"{path.relative_to(ROOT)} imports {other}"
            )


def test_every_room_has_a_floor() -> None:
    rooms = {path.relative_to(ROOT).with_suffix("").parts[0] for path in ROOT.rglob("*.py")}
    assert rooms - {"__init__"} == set(HEIGHT)

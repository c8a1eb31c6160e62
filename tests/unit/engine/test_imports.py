"""The engine's packages are layers: a module imports only from its own layer and from the ones below."""

import ast
from pathlib import Path

import pytest

import engine

ROOT = Path(engine.__file__).parent
MODULES = sorted(set(ROOT.rglob("*.py")) - {ROOT / "__init__.py"})

# From the bottom up; what stands side by side may not import each other. A module is in the layer with the
# longest matching name.
LAYERS = [
    {"errors"},
    {"durations"},
    {"settings"},
    {"models", "telemetry"},
    {"inference"},
    {"api.gojson"},
    {"api"},
    {"api.ollama"},
    {"api.openai", "api.anthropic"},
    {"api.handlers"},
    {"server"},
    {"cli"},
]
HEIGHT = {layer: height for height, layers in enumerate(LAYERS) for layer in layers}


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


NAMES = {name_of(path) for path in MODULES}


def layer_of(module: str) -> str:
    matching = [layer for layer in HEIGHT if f"{module}.".startswith(f"{layer}.")]
    assert matching, f"{module} is in no layer"
    return max(matching, key=len)


def imports(path: Path) -> set[str]:
    """The engine's modules that a module imports."""
    package = path.relative_to(ROOT.parent).parent.parts
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            parents = package[: len(package) - node.level + 1] if node.level else ()
            base = ".".join((*parents, *filter(None, [node.module])))
            names |= {f"{base}.{alias.name}" for alias in node.names} | {base}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return {name.removeprefix("engine.") for name in names} & NAMES


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_imports_only_from_its_own_layer_and_those_below(path: Path) -> None:
    own = layer_of(name_of(path))
    layers = {layer_of(name) for name in imports(path)}
    assert not {layer for layer in layers - {own} if HEIGHT[layer] >= HEIGHT[own]}


def test_every_layer_exists() -> None:
    assert {layer_of(name) for name in NAMES} == set(HEIGHT)


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_has_at_most_300_lines(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 300

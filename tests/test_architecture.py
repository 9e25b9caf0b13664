"""There are no import cycles, direct or indirect, at the top of a module or inside a function."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("handler", "training", "export", "infra")

Graph = dict[str, set[str]]
"""The modules that each module imports."""


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for package in PACKAGES for path in (ROOT / package).rglob("*.py")}


def imported_names(tree: ast.Module, package: str) -> set[str]:
    """Dotted names of imported modules, and of the names that `from` imports, which may be modules too."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*parents, *([node.module] if node.module else [])])
            found |= {base} | {f"{base}.{alias.name}" for alias in node.names}
    return found


def imports_of(name: str, path: Path) -> set[str]:
    """Modules of the project that a module imports. `from package import module` counts only for the module."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    names = imported_names(ast.parse(path.read_text(encoding="utf-8")), package) & MODULES.keys()
    return {other for other in names if not any(deeper.startswith(f"{other}.") for deeper in names)} - {name}


def reachable(graph: Graph, start: str) -> set[str]:
    """All modules that `start` imports, directly or through others."""
    found: set[str] = set()
    waiting = [start]
    while waiting:
        new = graph[waiting.pop()] - found
        found |= new
        waiting += new
    return found


def cycles(graph: Graph) -> set[frozenset[str]]:
    """Groups of modules that all import each other."""
    behind = {name: reachable(graph, name) for name in graph}
    return {
        frozenset(other for other in behind[name] if name in behind[other]) for name in graph if name in behind[name]
    }


@pytest.fixture(scope="module")
def graph() -> Graph:
    return {name: imports_of(name, path) for name, path in MODULES.items()}


def test_there_are_no_circular_imports(graph: Graph) -> None:
    assert "training.run_folder" in reachable(graph, "export.bundle"), "imports are found at all"
    assert cycles(graph) == set()


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import handler.files", {"handler.files"}),
        ("def f():\n    from handler import files", {"handler", "handler.files"}),
        ("from .files import read", {"handler.files", "handler.files.read"}),
        ("from . import files", {"handler", "handler.files"}),
    ],
)
def test_every_form_of_import_is_found(source: str, expected: set[str]) -> None:
    assert imported_names(ast.parse(source), "handler") == expected


def test_a_cycle_is_found() -> None:
    assert cycles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == {frozenset("abc")}
    assert cycles({"a": {"b"}, "b": set()}) == set()

"""The shape of the code, as tests: imports point one way, files stay small, each says what lives there."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LAYERS = ("ops", "unroll", "backends")
"""`ops` knows nothing, `unroll` knows `ops`, `backends` know both."""
ARRAYS = {"numpy", "cupy", "scipy"}
ARRAYS_ALLOWED = {"unroll/initializers.py", "unroll/demo.py", "unroll/analysis/flow.py"}
"""Initial values are drawn, and results measured, on the host; the demo is a program of its own."""
UPWARD_ALLOWED = {"unroll/model.py", "unroll/info.py"}
"""The façade that loads a backend by name, and the report of what there is."""
ONLY_IMPORTER = {
    "networkx": "unroll/graphs.py",
    "graphviz": "unroll/render/writer.py",
    "cupy": "backends/cupy/launch.py",
}


def dotted(path: Path) -> str:
    """The name under which a file is imported once installed."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts if parts[0] == "unroll" else ("unroll", *parts)).removesuffix(".__init__")


FILES = {dotted(p): p for layer in LAYERS for p in sorted((ROOT / layer).rglob("*.py"))}


def imports(name: str, late: bool = True) -> Iterator[str]:
    """The modules that a module imports; without `late`, only those it imports while being imported itself."""
    path = FILES[name]
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    pending: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"))]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            for alias in node.names:
                inner = f"{module}.{alias.name}"
                yield inner if inner in FILES else module
        elif late or not (isinstance(node, ast.FunctionDef) or _for_types_alone(node)):
            pending.extend(ast.iter_child_nodes(node))


def _for_types_alone(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


@pytest.mark.parametrize("name", FILES)
def test_imports_point_one_way(name: str) -> None:
    place, layer = FILES[name].relative_to(ROOT).as_posix(), FILES[name].relative_to(ROOT).parts[0]
    found = set(imports(name))
    outside = {n.partition(".")[0] for n in found}
    if layer == "ops":
        assert all(n.startswith("unroll.ops") for n in found if n.startswith("unroll"))
    if layer == "unroll" and place not in UPWARD_ALLOWED:
        assert not any(n.startswith("unroll.backends") for n in found)
    if layer != "backends" and place not in ARRAYS_ALLOWED:
        assert not outside & ARRAYS
    if not place.startswith("unroll/analysis/"):
        assert not any(n.startswith("unroll.analysis") for n in found)
    for package, home in ONLY_IMPORTER.items():
        assert package not in outside or place == home
    assert not outside & {"ops", "backends"}, "inside ops/ and backends/ imports are relative"


def test_no_import_goes_in_a_circle() -> None:
    graph = {name: set(imports(name, late=False)) & set(FILES) - {"unroll"} for name in FILES if name != "unroll"}
    for start in graph:
        seen: set[str] = set()
        pending = sorted(graph[start])
        while pending:
            target = pending.pop()
            assert target != start, f"{start} imports itself by way of others"
            if target not in seen:
                seen.add(target)
                pending.extend(graph[target])


@pytest.mark.parametrize("name", FILES)
def test_files_are_small_and_say_what_lives_there(name: str) -> None:
    text = FILES[name].read_text(encoding="utf-8")
    assert text.startswith('"""') or not text
    assert len(text.splitlines()) <= 400, f"{name} has outgrown its name"

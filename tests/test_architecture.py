"""The shape of the code, as tests: imports point one way, files stay small, each says what lives there."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("ops", "unroll", "backends")
ORDER = (
    ("ops",),
    ("errors", "files", "cache", "log", "patience", "records", "types"),
    ("ir",),
    ("printing",),
    ("dependence",),
    ("unfold",),
    ("language",),
    ("transform",),
    ("compiler",),
    ("backends",),
    ("runtime",),
    ("render",),
    ("explorer",),
    ("display",),
    ("template",),
    ("cells", "analysis", "training"),
    ("optim", "schedules", "endings", "initializers", "flow"),
    ("cli",),
    ("__main__",),
)
"""The rooms in the order in which data flows: each imports only those before it, for type checking and late too."""
EACH_ITS_OWN = {"Operand", "Where", "Workspace", "Flow"}
"""What every code generator has its own of; a data dependence, and the gradient flow that users are given."""
LATE = {
    "unroll.cli.commands": 1,
    "unroll.display": 3,
    "unroll.template": 1,
}
"""Imports of our own inside functions, by module; each has its reason beside it."""
ARRAYS = {"numpy", "cupy", "scipy"}
ARRAYS_ALLOWED = {"unroll/runtime/initializers.py", "unroll/cli/demo.py", "unroll/analysis/gradient_flow.py"}
"""Initial values are drawn, and results measured, on the host; the demo is a program of its own."""
ONLY_IMPORTER = {
    "networkx": "unroll/dependence/scc.py",
    "graphviz": "unroll/render/dot.py",
    "cupy": "backends/cupy/launch.py",
}


def dotted(path: Path) -> str:
    """The name under which a file is imported once installed."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts if parts[0] == "unroll" else ("unroll", *parts)).removesuffix(".__init__")


FILES = {dotted(p): p for layer in FOLDERS for p in sorted((ROOT / layer).rglob("*.py"))}


def imports(name: str) -> Iterator[tuple[str, bool]]:
    """The modules that a module imports, those for type checking included; and whether inside a function."""
    path = FILES[name]
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    pending: list[tuple[ast.AST, bool]] = [(ast.parse(path.read_text(encoding="utf-8")), False)]
    while pending:
        node, late = pending.pop()
        if isinstance(node, ast.Import):
            yield from ((alias.name, late) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            for alias in node.names:
                inner = f"{module}.{alias.name}"
                yield inner if inner in FILES else module, late
        else:
            late = late or isinstance(node, ast.FunctionDef)
            pending.extend((child, late) for child in ast.iter_child_nodes(node))


def room(name: str) -> str:
    """The room of one of our modules: what follows ``unroll`` in its name."""
    return name.split(".")[1]


RANKS = {name: rank for rank, names in enumerate(ORDER) for name in names}


@pytest.mark.parametrize("name", FILES)
def test_a_room_imports_only_rooms_before_it(name: str) -> None:
    found = {target for target, _ in imports(name) if target in FILES} - {"unroll"}
    if name == "unroll":
        return  # what the package shows comes from every room
    later = [target for target in found if RANKS[room(target)] >= RANKS[room(name)] and room(target) != room(name)]
    assert not later, f"{name} imports {', '.join(later)}"


@pytest.mark.parametrize("name", FILES)
def test_libraries_are_imported_where_they_belong(name: str) -> None:
    place, layer = FILES[name].relative_to(ROOT).as_posix(), FILES[name].relative_to(ROOT).parts[0]
    outside = {target.partition(".")[0] for target, _ in imports(name)}
    if layer != "backends" and place not in ARRAYS_ALLOWED:
        assert not outside & ARRAYS
    for package, home in ONLY_IMPORTER.items():
        assert package not in outside or place == home
    assert not outside & {"ops", "backends"}, "inside ops/ and backends/ imports are relative"


def test_every_room_has_its_place_in_the_order() -> None:
    assert {room(name) for name in FILES if name != "unroll"} == set(RANKS)


def test_no_import_goes_in_a_circle() -> None:
    graph = {name: {target for target, _ in imports(name)} & set(FILES) for name in FILES}
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
def test_no_private_name_crosses_a_module(name: str) -> None:
    nodes = ast.walk(ast.parse(FILES[name].read_text(encoding="utf-8")))
    taken = [
        a.name for node in nodes if isinstance(node, ast.ImportFrom) and node.module != "__future__" for a in node.names
    ]
    assert not [n for n in taken if n.startswith("_") and not n.startswith("__")]


def test_few_imports_stand_inside_functions() -> None:
    late = Counter(name for name in FILES for target, late in imports(name) if late and target in FILES)
    assert sum(late.values()) <= 5
    assert late == LATE


def test_a_class_has_its_name_to_itself() -> None:
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in FILES.values()]
    found = Counter(node.name for tree in trees for node in tree.body if isinstance(node, ast.ClassDef))
    public = {name: n for name, n in found.items() if not name.startswith("_")}
    assert len(public) > 200
    assert {name for name, n in public.items() if n > 1} == EACH_ITS_OWN


def test_few_annotations_say_any() -> None:
    functions = [
        node
        for path in FILES.values()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef)
    ]
    said = [
        a
        for f in functions
        for a in (
            f.returns,
            *(
                p.annotation
                for p in (*f.args.posonlyargs, *f.args.args, *f.args.kwonlyargs, f.args.vararg, f.args.kwarg)
                if p
            ),
        )
        if isinstance(a, ast.Name) and a.id == "Any"
    ]
    assert len(functions) > 1000
    assert len(said) < 150


@pytest.mark.parametrize("name", FILES)
def test_files_are_small_and_say_what_lives_there(name: str) -> None:
    text = FILES[name].read_text(encoding="utf-8")
    assert text.startswith('"""') or not text
    assert len(text.splitlines()) <= 400, f"{name} has outgrown its name"

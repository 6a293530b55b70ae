"""Mutants made: what may stand in place of an expression or a statement, and how it gets into a running program.

A mutant is one expression or statement of a function replaced by a neighbour: a comparison, sum or `and` by its
opposite, a condition by True, by False or by its parts, an integer by the next one up or down, a call by one without an
argument, a filter, a `return`, an assignment or a call left out. Left alone is what makes text or says what is known
anyway: strings, f-strings, `raise` and `assert`, annotations, docstrings, decorators, `strict=`, `label=`, `source=`.
"""

from __future__ import annotations

import ast
import copy
import importlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import CodeType
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
OPPOSITE: dict[type, type] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.And: ast.Or, ast.Or: ast.And,
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.FloorDiv, ast.FloorDiv: ast.Mult, ast.Mod: ast.FloorDiv,
    ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.Break: ast.Continue, ast.Continue: ast.Break,
}  # fmt: skip
CALLS = {"any": "all", "all": "any", "min": "max", "max": "min", "sorted": "list", "reversed": "list"}
NO_TEXT = (ast.Raise, ast.Assert, ast.JoinedStr)
NO_FIELDS = ("annotation", "returns", "decorator_list", "type_params")
NO_KEYWORDS = ("strict", "label", "source")


@dataclass
class Mutant:
    """One node of a function's tree, which has been parsed anew, and what replaces it."""

    file: str
    function: str
    line: int
    number: int
    owner: ast.AST
    field: str
    place: int | None
    new: ast.AST

    @property
    def key(self) -> str:
        """The name by which results and `--keys` know it."""
        return f"{self.file}:{self.function}:{self.line}:{self.number}"

    def apply(self) -> str:
        """Change the tree; the change in words."""
        inside = getattr(self.owner, self.field)
        old = inside if self.place is None else inside[self.place]
        if self.place is None:
            setattr(self.owner, self.field, self.new)
        else:
            inside[self.place] = self.new
        ast.copy_location(self.new, old)
        ast.fix_missing_locations(self.owner)
        return f"{ast.unparse(old)}  ->  {ast.unparse(self.new)}"


def changed(node: Any, **fields: Any) -> Any:
    """A copy of a node with other fields."""
    found = copy.copy(node)
    for name, value in fields.items():
        setattr(found, name, value)
    return found


def neighbours(node: Any, where: str) -> Iterator[ast.AST]:
    """What may stand in place of a node."""
    if where == "test" and not isinstance(node, ast.Constant):
        yield ast.Constant(True)
        yield ast.Constant(False)
    match node:
        case ast.Compare(ops=[op]) if type(op) in OPPOSITE:
            yield changed(node, ops=[OPPOSITE[type(op)]()])
        case ast.BinOp(op=op) if type(op) in OPPOSITE:
            yield changed(node, op=OPPOSITE[type(op)]())
        case ast.BoolOp(op=op, values=values):
            yield changed(node, op=OPPOSITE[type(op)]())
            for n in range(len(values)):
                rest = values[:n] + values[n + 1 :]
                yield changed(node, values=rest) if len(rest) > 1 else rest[0]
        case ast.UnaryOp(op=ast.Not() | ast.USub(), operand=operand):
            yield operand
        case ast.Constant(value=bool(value)):
            yield ast.Constant(not value)
        case ast.Constant(value=int(value)):
            yield ast.Constant(value + 1)
            yield ast.UnaryOp(ast.USub(), ast.Constant(1)) if value == 0 else ast.Constant(value - 1)
        case ast.Call(func=func, args=args, keywords=keywords):
            if isinstance(func, ast.Name) and func.id in CALLS and not (func.id == "sorted" and keywords):
                yield changed(node, func=ast.Name(CALLS[func.id], ast.Load()))
            if len(args) > 1 and ast.unparse(func) != "isinstance":
                yield changed(node, args=args[:-1])
            for n, k in enumerate(keywords):
                if k.arg not in (None, *NO_KEYWORDS):
                    yield changed(node, keywords=keywords[:n] + keywords[n + 1 :])
        case ast.comprehension(ifs=[_, *_] as ifs):
            for n in range(len(ifs)):
                yield changed(node, ifs=ifs[:n] + ifs[n + 1 :])
        case ast.Return(value=value) if value is not None and not (isinstance(value, ast.Constant)):
            yield ast.Return(ast.Constant(None))
        case ast.AugAssign() | ast.Expr(value=ast.Call()) | ast.Assign(targets=[ast.Subscript()]):
            yield ast.Pass()
        case ast.Break() | ast.Continue():
            yield OPPOSITE[type(node)]()


def within(node: ast.AST, file: str, function: str, counts: Counter[int]) -> Iterator[Mutant]:
    """Every mutant inside a node, which itself stays."""
    for field, value in ast.iter_fields(node):
        several = isinstance(value, list)
        if field in NO_FIELDS or (field == "args" and isinstance(node, ast.FunctionDef | ast.Lambda)):
            continue
        for place, child in enumerate(value if several else [value]):
            if not isinstance(child, ast.AST) or isinstance(child, NO_TEXT):
                continue
            if isinstance(child, ast.keyword) and child.arg in NO_KEYWORDS:
                continue
            for new in neighbours(child, "" if isinstance(node, ast.While) else field):
                line: int = getattr(child, "lineno", 0) or getattr(getattr(child, "target", child), "lineno", 0)
                counts[line] += 1
                yield Mutant(file, function, line, counts[line], node, field, place if several else None, new)
            yield from within(child, file, function, counts)


def functions(tree: ast.AST, inside: str = "") -> Iterator[tuple[str, ast.FunctionDef]]:
    """Functions of a module and of its classes, by qualified name."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef) and node.name not in ("__repr__", "__str__"):
            yield inside + node.name, node
        elif isinstance(node, ast.ClassDef):
            yield from functions(node, f"{inside}{node.name}.")


def mutants(file: str) -> tuple[ast.Module, list[Mutant]]:
    """A file's tree and every mutant of it."""
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    counts: Counter[int] = Counter()
    return tree, [m for name, node in functions(tree) for m in within(node, file, name, counts)]


def named(files: Iterable[str]) -> list[str]:
    """The keys of all mutants, in order."""
    paths = [p.relative_to(ROOT).as_posix() for pattern in files for p in sorted(ROOT.glob(pattern))]
    return [m.key for path in paths for m in mutants(path)[1]]


def code_of(code: CodeType, name: str) -> CodeType:
    """The code of a function by its qualified name, inside that of its module."""
    for const in code.co_consts:
        if isinstance(const, CodeType):
            if const.co_qualname == name:
                return const
            if name.startswith(const.co_qualname + "."):
                return code_of(const, name)
    raise LookupError(name)


def plant(key: str) -> str:
    """Put a mutant into the running program; the change in words."""
    file = key.partition(":")[0]
    tree, found = mutants(file)
    one = next(m for m in found if m.key == key)
    said = one.apply()
    code = code_of(compile(tree, str(ROOT / file), "exec"), one.function)
    module = file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    owner: Any = importlib.import_module(module if module.startswith("unroll") else f"unroll.{module}")
    for part in one.function.split("."):
        owner = vars(owner)[part]
    for wrapped in ("fget", "func", "__wrapped__", "__func__"):
        owner = getattr(owner, wrapped, owner)
    owner.__code__ = code
    return said

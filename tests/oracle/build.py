"""A description written as a script in unroll's own language, and run to build the template: public names alone."""

from __future__ import annotations

import keyword
import math
from typing import Any

import numpy as np

from .trees import AT, END, RUN, Node, Step, System, shared

INFIX = {"add": "+", "sub": "-", "mul": "*", "div": "/", "pow": "**", "matmul": "@", "less": "<", "less_equal": "<="}
INFIX |= {
    "greater": ">",
    "greater_equal": ">=",
    "logical_and": "&",
    "logical_or": "|",
    "floor_divide": "//",
    "remainder": "%",
}
PREFIX = {"neg": "-", "logical_not": "~"}
TAKEN = {"g", "t", "T", "np", "ops", "unroll", "Template", "params", "net", "abs"}


class Script:
    """The lines of a script, and the Python names in it."""

    def __init__(self, system: System) -> None:
        self.system = system
        self.lines: list[str] = []
        self.names = self.identifiers()
        self.steps: dict[str, tuple[str, str]] = {}
        self.shared = shared(system)
        self.hoisted: dict[int, str] = {}
        self.uses = 0

    def identifiers(self) -> dict[str, str]:
        """A Python name for every declaration: its own where that can be."""
        names = list(self.system.decls)
        axes = set(self.system.axes) | {axis.upper() for axis in self.system.axes}
        fit = all(
            n.isidentifier() and n.isascii() and not keyword.iskeyword(n) and not n.startswith("e_") for n in names
        )
        if fit and not set(names) & (TAKEN | axes) and len("".join(names)) < 300:
            return {name: name for name in names}
        return {name: f"{decl.role[0]}{k}" for k, (name, decl) in enumerate(self.system.decls.items())}

    def step(self, step: Step) -> str:
        """``t-1``, ``T`` or a number."""
        if step.anchor == AT:
            return str(step.shift)
        name = self.steps[step.axis][1 if step.anchor == END else 0]
        return f"{name}{step.shift:+d}" if step.shift else name

    def value(self, value: Any) -> str:
        """A number, or an array of them."""
        if isinstance(value, (list, tuple)):
            return f"np.array({list(value)!r})".replace("nan", "np.nan").replace("inf", "np.inf")
        if isinstance(value, float) and not math.isfinite(value):
            return "np.nan" if math.isnan(value) else "np.inf" if value > 0 else "(-np.inf)"
        return repr(value) if not isinstance(value, (int, float)) or value >= 0 else f"({value!r})"

    def expr(self, node: Node) -> str:
        """An expression; what is shared stands under a name of its own, on a line before."""
        for part in node.walk():
            if id(part) in self.shared and part.args and part is not node and id(part) not in self.hoisted:
                self.hoist(part)
        if id(node) in self.shared and node.args and id(node) not in self.hoisted:
            self.hoist(node)
        return self.text(node, bracket=True)

    def hoist(self, node: Node) -> None:
        """Give an operation a name."""
        name = f"e_{len(self.hoisted) + 1}"
        self.lines.append(f"{name} = {self.text(node)}")
        self.hoisted[id(node)] = name

    def text(self, node: Node, bracket: bool = False) -> str:
        """An expression on one line."""
        if id(node) in self.hoisted:
            return self.hoisted[id(node)]
        op, attrs = node.op, node.attrs
        if op == "const":
            return self.value(attrs["value"])
        if op == "read":
            name, steps = self.names[attrs["name"]], attrs["steps"]
            decl = self.system.decls[attrs["name"]]
            if steps:
                return f"{name}[{', '.join(self.step(s) for s in steps)}]"
            self.uses += 1
            return f"{name}[()]" if decl.role == "variable" and (bracket or self.uses % 2) else name
        args = [self.text(arg, bracket=op in ("index", "T")) for arg in node.args]
        if op in INFIX:
            return f"({args[0]} {INFIX[op]} {args[1]})"
        if op in PREFIX:
            return f"({PREFIX[op]}{args[0]})"
        if op == "abs" and attrs.get("bare", True):
            return f"abs({args[0]})"
        if op == "index":
            return f"{args[0]}[{key_text(attrs['key']) or '()'}]"
        if op == "T":
            return f"{args[0]}.T"
        if op in ("concat", "stack"):
            return f"ops.{op}([{', '.join(args)}], axis={attrs['axis']})"
        if op == "clip":
            return f"ops.clip({args[0]}, {self.value(attrs['low'])}, {self.value(attrs['high'])})"
        if op == "layer_norm":
            more = f", gain={args[1]}, bias={args[2]}" if len(args) == 3 else ""
            return f"ops.layer_norm({args[0]}{more}, axis={attrs['axis']}, eps={attrs['eps']})"
        if op == "einsum":
            return f"ops.einsum({attrs['spec']!r}, {', '.join(args)})"
        given = dict(attrs)
        if given.get("over") is not None:
            over = [self.steps[axis][0] for axis in given.pop("over")]
            return f"ops.{op}({', '.join(args)}, over={over[0] if len(over) == 1 else '(' + ', '.join(over) + ')'})"
        more = "".join(f", {k}={v!r}" for k, v in given.items() if not (k == "axis" and v is None and op in REDUCING))
        return f"ops.{op}({', '.join(args)}{more})"


REDUCING = ("sum", "mean", "max", "min")


def key_text(key: tuple[Any, ...]) -> str:
    """What stands in brackets after a value."""
    parts = []
    for part in key:
        if isinstance(part, slice):
            ends = ["" if v is None else str(v) for v in (part.start, part.stop)]
            parts.append(":".join(ends) + ("" if part.step is None else f":{part.step}"))
        else:
            parts.append("..." if part is Ellipsis else str(part))
    return ", ".join(parts)


def source(system: System) -> str:
    """The script that builds the template `g`."""
    script = Script(system)
    lines = script.lines
    for k, axis in enumerate(system.axes):
        if axis == "t":
            lines.append("from unroll import T, t")
            script.steps[axis] = ("t", "T")
            continue
        plain = axis.isidentifier() and not keyword.iskeyword(axis) and axis not in TAKEN and axis.upper() not in TAKEN
        clash = {axis, axis.upper()} & set(script.names.values()) or len(axis) > 8
        script.steps[axis] = (axis, axis.upper()) if plain and not clash else (f"a_{k}", f"A_{k}")
        lines.append(f"{script.steps[axis][0]}, {script.steps[axis][1]} = unroll.axis({axis!r})")
    lines.append(f"g = Template({system.label!r})")
    for decl in system.decls.values():
        shape = decl.shape[0] if len(decl.shape) == 1 else decl.shape
        kind = "" if decl.kind == "float" else f", dtype={decl.kind!r}"
        name = script.names[decl.name]
        if decl.role == "input":
            steps = [script.steps[a][0] for a in decl.axes]
            over = "None" if not steps else steps[0] if len(steps) == 1 else f"({', '.join(steps)})"
            over = "" if over == "t" else f", over={over}"
            lines.append(f"{name} = g.input({decl.name!r}, {shape!r}{over}{kind})")
        elif decl.role == "param":
            lines.append(f"{name} = g.param({decl.name!r}, {shape!r})")
        else:
            shaped = f", {shape!r}" if decl.shaped else ""
            lines.append(f"{name} = g.variable({decl.name!r}{shaped}{kind})")
    for statement in system.statements:
        text = script.expr(statement.expr)
        for name, steps in reversed(statement.targets):
            key = ", ".join(script.step(s) for s in steps) or "()"
            text = f"{script.names[name]}[{key}] = {text}"
        lines.append(text)
    for name, expr in system.outputs:
        text = script.expr(expr)
        lines.append(f"g.output({name!r}, {text})")
    if system.loss is not None:
        text = script.expr(system.loss)
        lines.append(f"g.loss = {text}")
    return "\n".join(lines) + "\n"


HEAD = "import numpy as np\nimport unroll\nfrom unroll import Template, ops\n"


def build(system: System) -> Any:
    """The template. Raises what the script raises."""
    import unroll

    place: dict[str, Any] = {"np": np, "unroll": unroll, "Template": unroll.Template, "ops": unroll.ops}
    exec(compile(source(system), "<oracle>", "exec"), place)
    return place["g"]


__all__ = ["HEAD", "RUN", "build", "source"]

"""Random models that draw themselves, and their log-probability a second time: a sum over the nodes of the graph.

Every parameter of a distribution is a variable of the template, so its values can be asked for; densities are SciPy's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy import stats

from unroll import Template, axis, ops, t
from unroll.unfold.dag import Node

s, S = axis("s")
LABELS = 3
DRAWS: dict[str, tuple[Any, str, int]] = {
    "normal": (ops.normal, "float", 2),
    "uniform": (ops.uniform, "float", 2),
    "bernoulli": (ops.bernoulli, "bool", 1),
    "categorical": (ops.categorical, "int", 1),
}


@dataclass
class Drawn:
    """A template, and of each random variable its family and its parameters, by name and whether it is a boundary."""

    template: Template
    laws: dict[tuple[str, bool], tuple[str, list[str]]] = field(default_factory=dict)

    def log_density(self, node: Node, values: Mapping[Node, Any]) -> Any:
        """The log-probability of one node, (B,), given the values of all nodes."""
        start = bool(node.steps) and node.steps[-1] == 0
        family, names = self.laws[node.name, start]
        steps = node.steps[:-1] if start else node.steps
        y, told = values[node], [values[Node(n, steps)] for n in names]
        each: Any
        if family == "normal":
            each = stats.norm.logpdf(y, told[0], abs(told[1]))
        elif family == "uniform":
            each = stats.uniform.logpdf(y, np.minimum(*told), abs(told[1] - told[0]))
        elif family == "bernoulli":
            each = stats.bernoulli.logpmf(y, np.clip(told[0], 0, 1))
        else:
            scores = told[0] - np.log(np.exp(told[0]).sum(-1, keepdims=True))
            each = np.take_along_axis(np.broadcast_to(scores, (*y.shape, LABELS)), y[..., None], -1)
        return each.reshape(len(y), -1).sum(1)


def random_template(rng: np.random.Generator, dropout: bool = False) -> Drawn:
    """Up to three variables; each has a random family, whose parameters read those before it, and its own past."""
    g = Template("random")
    made, x, earlier = Drawn(g), g.input("x"), []

    def law(name: str, family: str, shape: Any, where: Any, level: Any) -> Any:
        """A draw from a family, with its parameters as variables."""
        draw, _, count = DRAWS[family]
        wide = (*shape, LABELS) if family == "categorical" else shape
        told = [g.variable(f"{name}_{k}", wide) for k in range(count)]
        for k, v in enumerate(told):
            spread = np.linspace(0.2, 0.7, int(np.prod(wide))).reshape(wide)
            v[where] = 1.3 * ops.sin(level + k) + spread
        return draw(*(v[where] if where else v for v in told), over=where or None), [v.name for v in told]

    for number in range(rng.integers(1, 4)):
        name, family = f"y{number}", str(rng.choice(list(DRAWS)))
        kind, shape = DRAWS[family][1], [(), (2,)][rng.integers(2)]
        along: Any = [(t,), (s, t), ()][rng.choice(3, p=[0.5, 0.3, 0.2])]
        y, level = g.variable(name, shape, dtype=kind), rng.normal() + 0.0 * g.param(f"w{number}")
        if along:
            level = level + rng.normal() * (ops.dropout(x[t], 0.5) if dropout else x[t])
        for other, axes in earlier:
            if set(axes) <= set(along):
                level = level + rng.normal() * _number(other[axes] if axes else other.as_expression())
        if along:
            level = level + rng.normal() * _number(y[(*along[:-1], t - 1)])
            start: Any = {"bool": False, "int": 1, "float": 0.3}[kind]
            if rng.random() < 0.5:
                start, names = law(f"q{number}", family, shape, along[:-1], 0.0 * g.param(f"v{number}"))
                made.laws[name, True] = family, names
            y[(*along[:-1], 0)] = start
        value, names = law(f"p{number}", family, shape, along, level)
        y[along], made.laws[name, False] = value, (family, names)
        earlier.append((y, along))
    return made


def _number(e: Any) -> Any:
    """One number made of a value."""
    e = ops.cast(e) if e.dtype != "float" else e
    return ops.sum(e) if e.shape else e


def values_of(g: Template, net: Any, params: Any, **arrays: Any) -> dict[Node, Any]:
    """Every instance of every variable, as one run draws them."""
    dag = g.unfold(**lengths_of(g, arrays))
    nodes = [n for n in dag.nodes() if g.system.decls[n.name].kind == "variable"]
    asked = [(n.name, *n.steps) if n.steps else n.name for n in nodes]
    found = net.run(params, asked, **arrays)
    return dict(zip(nodes, found.values(), strict=True))


def lengths_of(g: Template, arrays: Mapping[str, Any]) -> dict[str, int]:
    """The steps of the axes of a template."""
    used = {a.end for d in g.system.decls.values() for a in d.axes}
    return {end: n for end, n in {"T": len(arrays["x"]), "S": arrays.get("S", 0)}.items() if end in used}

"""Two equations become one where they compute the same, and only where nothing that reads them could tell."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from unroll import Template, ops, t
from unroll.ir.system import System
from unroll.transform.simplify import simplify


def two() -> System:
    """The same exponentials in two equations."""
    g = Template("two")
    x, h, k = g.input("x", 3), g.variable("h", 3), g.variable("k", 3)
    h[t] = 2 * ops.exp(x[t])
    k[t] = 3 * ops.exp(x[t])
    return g.system


def exponentials(system: System) -> int:
    return sum(e.op == "exp" for e in simplify(system).equations)


def test_equal_ones_are_computed_once() -> None:
    assert exponentials(two()) == 1


@pytest.mark.parametrize(
    "changed", [{"kind": "cotangent"}, {"batched": False}, {"dtype": "int"}, {"shape": (1, 3)}], ids=str
)
@pytest.mark.parametrize("which", [0, 1])
def test_those_declared_otherwise_stay_apart(
    which: int, changed: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cotangent is zero where nothing writes it, and a temporary undefined: neither stands for the other."""
    monkeypatch.setattr("unroll.transform.verify.enabled", False)  # not all of these are sound
    system = two()
    name = [e.out.name for e in system.equations if e.op == "exp"][which]
    decls = {**system.decls, name: replace(system.decls[name], **changed)}
    assert exponentials(replace(system, decls=decls)) == 2

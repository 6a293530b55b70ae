"""Hints: what is reached for on an expression is answered, and no message names what does not exist."""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import unroll
from unroll import Template, cells, ops, t
from unroll.analysis import ModelNet
from unroll.language.expression import Expr
from unroll.ops.hints import INSTEAD, OTHERWISE, PUBLIC, instead

ROOT = Path(__file__).resolve().parents[2]
OWNERS = {"ops": ops, "net": ModelNet, "g": Template, "cells": cells, "unroll": unroll}
MENTION = re.compile(r"(?<![\w./])(ops|net|g|cells|unroll)\.([A-Za-z]\w*)(?![\w.]*[~/])")


def value() -> Expr:
    g = Template()
    return g.input("x", (3, 3))[t]


def strings() -> Iterator[tuple[str, str]]:
    """Every text of the package, docstrings and messages alike, with its file."""
    for folder in ("ops", "unroll", "backends"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    yield path.name, node.value


def exists(owner: str, name: str) -> bool:
    return hasattr(OWNERS[owner], name)


def test_every_name_in_every_message_exists() -> None:
    found = [(file, owner, name) for file, text in strings() for owner, name in MENTION.findall(text)]
    assert len(found) > 200
    missing = {f"{file}: {owner}.{name}" for file, owner, name in found if not exists(owner, name)}
    assert not missing


@pytest.mark.parametrize("kind", [np.ndarray, pytest.param("torch", id="torch.Tensor")])
def test_methods_of_arrays_exist_or_say_what_to_write(kind: object) -> None:
    known = pytest.importorskip("torch").Tensor if kind == "torch" else kind
    x, answered = value(), 0
    for name in (n for n in dir(known) if not n.startswith("_")):
        if name in ("T", "shape", "dtype", "ndim", "axes"):
            continue
        with pytest.raises(AttributeError) as caught:
            getattr(x, name)
        text = str(caught.value)
        answered += "write " in text
        assert all(exists(*mention) for mention in MENTION.findall(text)), text
    assert answered > 10


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("mean", "x[t] has no mean; write ops.mean(x[t])"),
        ("min", "x[t] has no min; write ops.min(x[t])"),
        ("clip", "x[t] has no clip; write ops.clip(x[t], low, high)"),
        ("copy", "x[t] has no copy; nothing changes a value, so none needs a copy"),
        ("sigmoid_", "x[t] has no sigmoid_; write ops.sigmoid(x[t])"),
        ("backward", "x[t] has no backward; net.value_and_grad(params, ...) returns gradients"),
    ],
)
def test_what_is_reached_for(name: str, text: str) -> None:
    with pytest.raises(AttributeError) as caught:
        getattr(value(), name)
    assert str(caught.value) == text


def test_a_variable_is_read_at_its_step_in_a_hint() -> None:
    g = Template()
    x = g.input("x", 3)
    with pytest.raises(AttributeError, match=r"x\[t\] has no mean; write ops\.mean\(x\[t\]\)"):
        _ = x.mean


def test_what_is_told_can_be_written() -> None:
    x, low, high, shape, axes = value(), 0.0, 1.0, (9,), (1, 0)
    labels = Template().input("y", (), dtype="int")
    for name in {*INSTEAD, *PUBLIC} - {"gather", "index_select", "logical_and", "logical_or", "logical_not"}:
        told = instead(name, "x")
        if name not in INSTEAD or "{x}, ...)" in INSTEAD[name] or name.startswith(("bitwise", "invert")):
            continue
        where = {"x": x, "ops": ops, "low": low, "high": high, "shape": shape, "axes": axes, "labels": labels}
        if "broadcast_to" in told:
            where["shape"] = (2, 3, 3)
        made = eval(told.replace("..., ", "").replace(", ...", "").replace("...", "x"), where)
        assert isinstance(made, Expr), told
    assert "(a + b) @ ..." in instead("mm", "a + b")


def test_functions_of_other_libraries_are_answered_by_what_exists() -> None:
    x = value()
    for function in (np.exp, np.negative, np.square, np.absolute, np.arctan2, math.exp, np.linalg.det, np.concatenate):
        with pytest.raises(unroll.UnrollError) as caught:
            function([x, x]) if function is np.concatenate else function(*[x] * getattr(function, "nin", 1))
        mentioned = MENTION.findall(str(caught.value).split("\n")[0])
        assert all(exists(*mention) for mention in mentioned), caught.value


def test_names_that_nobody_has() -> None:
    assert not hasattr(value(), "walrus")
    assert not set(OTHERWISE) & (set(INSTEAD) | PUBLIC)

"""Failing cases on file: a description, its arrays and the probe as a line of JSON, read back as they were."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from .data import Case
from .probes import Probe
from .trees import Decl, Node, Statement, Step, System, const, make, read

PLACE = Path(__file__).parent / "regressions.jsonl"


def coded(value: Any) -> Any:
    """An attribute as JSON has it."""
    if isinstance(value, Step):
        return {"step": [value.anchor, value.axis, value.shift]}
    if isinstance(value, slice):
        return {"slice": [value.start, value.stop, value.step]}
    if value is Ellipsis:
        return {"dots": 0}
    if isinstance(value, tuple):
        return {"tuple": [coded(v) for v in value]}
    return value


def decoded(value: Any) -> Any:
    """The attribute again."""
    if not isinstance(value, dict):
        return value
    ((kind, inside),) = value.items()
    if kind == "step":
        return Step(*inside)
    if kind == "slice":
        return slice(*inside)
    return Ellipsis if kind == "dots" else tuple(decoded(v) for v in inside)


def packed(system: System) -> dict[str, Any]:
    """A system as plain data; shared operations stand once."""
    nodes: list[Any] = []
    place: dict[int, int] = {}
    keep = system.roots

    def put(root: Node) -> int:
        for node in root.walk():
            if id(node) not in place:
                place[id(node)] = len(nodes)
                attrs = {k: coded(v) for k, v in node.attrs.items()}
                nodes.append([node.op, [place[id(arg)] for arg in node.args], attrs])
        return place[id(root)]

    statements = [[[[n, [coded(s) for s in st]] for n, st in s.targets], put(s.expr)] for s in system.statements]
    outputs = [[name, put(expr)] for name, expr in system.outputs]
    loss = None if system.loss is None else put(system.loss)
    decls = [dataclasses.asdict(d) for d in system.decls.values()]
    del keep
    more = {"label": system.label, "axes": system.axes, "decls": decls, "nodes": nodes}
    return {**more, "statements": statements, "outputs": outputs, "loss": loss}


def unpacked(data: dict[str, Any]) -> System:
    """The system again."""
    decls = {d["name"]: Decl(**{**d, "shape": tuple(d["shape"]), "axes": tuple(d["axes"])}) for d in data["decls"]}
    nodes: list[Node] = []
    for op, args, attrs in data["nodes"]:
        given = {k: decoded(v) for k, v in attrs.items()}
        if op == "const":
            nodes.append(const(given["value"]))
        elif op == "read":
            nodes.append(read(decls[given["name"]], *given["steps"]))
        else:
            nodes.append(make(op, *(nodes[k] for k in args), **given))
    statements = tuple(
        Statement(tuple((n, tuple(decoded(s) for s in st)) for n, st in targets), nodes[k])
        for targets, k in data["statements"]
    )
    outputs = tuple((name, nodes[k]) for name, k in data["outputs"])
    loss = None if data["loss"] is None else nodes[data["loss"]]
    return System(data["label"], tuple(data["axes"]), decls, statements, outputs, loss)


def arrays(values: dict[str, Any]) -> dict[str, Any]:
    """Arrays as lists, with their kind and shape."""
    return {n: [a.dtype.name, list(a.shape), a.ravel().tolist()] for n, a in values.items()}


def restored(values: dict[str, Any]) -> dict[str, Any]:
    """The arrays again."""
    return {n: np.array(flat, kind).reshape(shape) for n, (kind, shape, flat) in values.items()}


def line(case: Case, probe: Probe, about: str, **more: Any) -> str:
    """A case on a line."""
    data = {"about": about, **more, "probe": dataclasses.asdict(probe), "system": packed(case.system)}
    data |= {"sizes": case.sizes, "batch": case.batch, "lengths": case.lengths}
    return json.dumps(data | {"params": arrays(case.params), "inputs": arrays(case.inputs)})


def loaded(text: str) -> tuple[Case, Probe, dict[str, Any]]:
    """The case, the probe, and what is said of it."""
    data = json.loads(text)
    lengths = {a: tuple(n) for a, n in data["lengths"].items()} if data["lengths"] else None
    case = Case(
        unpacked(data["system"]),
        data["sizes"],
        data["batch"],
        lengths,
        restored(data["params"]),
        restored(data["inputs"]),
    )
    probe = Probe(**{**data["probe"], "without": tuple(data["probe"]["without"])})
    return case, probe, {"about": data["about"], "open": data.get("open", False)}


def every() -> Iterator[tuple[Case, Probe, dict[str, Any]]]:
    """All cases on file."""
    if PLACE.exists():
        for text in PLACE.read_text(encoding="utf-8").splitlines():
            if text.strip():
                yield loaded(text)

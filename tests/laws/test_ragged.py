"""A padded batch equals its examples run one by one: values of all variables, outputs, losses and gradients."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pytest
from helpers.zoo import ZOO, S, arrays_for, params_for, s
from hypothesis import HealthCheck, Phase, assume, given, note, settings
from hypothesis import strategies as st

from laws.agreement import EXACT, Specimen, close, compiled
from laws.templates import templates
from unroll import Net, T, Template, axis, ops, t
from unroll.errors import CausalityError, LengthError, TemplateError

LARGEST = 1e3
SOME = {"T": [3, 0, 5, 1], "S": [0, 4, 2, 1]}
ACROSS = ("bidirectional", "masked_and_labelled_boundaries", "over_time")
FILLS = {"f": np.nan, "i": -7, "b": True}


class Wild(Exception):
    """Numbers in which rounding shows: nothing can be compared to a tolerance."""


def time_axes(g: Template) -> dict[str, Any]:
    """The axes along which a template has anything, by their ends."""
    used = {a for d in g.system.decls.values() for a in d.axes} | {r.axis for e in g.system.equations for r in e.domain}
    return {a.end: a for a in used}


@dataclass(frozen=True)
class Batch:
    """Examples of their own lengths, and the same ones padded with what no result may depend on.

    even  the end of an axis on which all of them are of one length, and none is said
    """

    g: Template
    lengths: dict[str, list[int]]
    longer: int
    seed: int
    even: str = ""

    @property
    def said(self) -> dict[str, list[int]]:
        """The lengths that are told."""
        return {end: ends for end, ends in self.lengths.items() if end != self.even}

    @cached_property
    def examples(self) -> list[Specimen]:
        """One by one, without a batch axis."""
        rng = np.random.default_rng(self.seed)
        params, count = params_for(self.g, rng), len(next(iter(self.lengths.values())))
        steps = [{end: ends[b] for end, ends in self.lengths.items()} for b in range(count)]
        return [Specimen(self.g, params, arrays_for(self.g, n, None, rng)) for n in steps]

    @cached_property
    def padded(self) -> Specimen:
        """All of them in arrays of the largest length, or of a few steps more."""
        total = {end: max(ends) + (self.longer if end != self.even else 0) for end, ends in self.lengths.items()}
        arrays: dict[str, Any] = dict(total)
        for name, decl in self.g.system.decls.items():
            if decl.kind == "input":
                values = [np.asarray(it.arrays[name]) for it in self.examples]
                shape = (*(total[a.end] for a in decl.axes), len(values), *decl.shape)
                arrays[name] = np.full(shape, FILLS[values[0].dtype.kind], values[0].dtype)
                for b, value in enumerate(values):
                    arrays[name][(*map(slice, value.shape[: len(decl.axes)]), b)] = value
                arrays[name].setflags(write=False)
        return Specimen(self.g, self.examples[0].params, arrays)

    def same(self, got: Any, axes: Any, b: int, want: Any, what: str) -> None:
        """What the padded batch gives for one example: its own values, and 0 at the steps that it does not have."""
        full = np.array(np.take(got, b, len(axes)))
        inside = tuple(slice(self.lengths[a.end][b]) for a in axes)
        close(full[inside] if axes else full, want, EXACT, f"example {b}, {what}")
        if axes:
            full[inside] = 0
            assert not full.any(), f"example {b}, {what}: {full} where it has no step"

    def check(self, net: Net, single: Net) -> None:
        """The law."""
        decls, count = self.g.system.decls, len(self.examples)
        names = [n for n in self.padded.variables if isinstance(n, str)]
        floats = self.padded.floats
        alone = [single.value_and_grad(it.params, floats, names, **it.arrays) for it in self.examples]
        outputs = [single.run(it.params, **it.arrays) if self.g.system.outputs else {} for it in self.examples]
        for _, grads, values in alone:
            if not all(np.all(np.abs(v) < LARGEST) for v in (*grads.values(), *values.values())):
                raise Wild
        params, given = self.padded.params, {**self.padded.arrays, "lengths": self.said}
        loss, gradients, values = net.value_and_grad(params, floats, names, **given)
        close(loss, np.mean([value for value, *_ in alone]), EXACT, "loss")
        shown = net.run(params, **given) if self.g.system.outputs else {}
        for b, (_, grads, want) in enumerate(alone):
            for name in names:
                if np.ndim(values[name]) > np.ndim(want[name]):
                    self.same(values[name], decls[name].axes, b, want[name], name)
            for name, ref in self.g.system.outputs.items():
                if np.ndim(shown[name]) > np.ndim(outputs[b][name]):
                    self.same(shown[name], ref.running, b, outputs[b][name], f"output {name}")
            for name in floats:
                if decls[name].kind == "input":
                    self.same(gradients[name] * count, decls[name].axes, b, grads[name], f"gradient by {name}")
        for name in floats:
            if decls[name].kind == "param":
                want = sum(grads[name] for _, grads, _ in alone) / count
                close(gradients[name], want, EXACT, f"gradient by {name}")


def of_zoo(name: str, lengths: dict[str, list[int]], longer: int) -> Batch:
    """A batch for a recurrence of the zoo."""
    g = ZOO[name]()
    return Batch(g, {end: lengths[end] for end in time_axes(g)}, longer, zlib.crc32(name.encode()))


def check_zoo(name: str, backend: str) -> None:
    """Lengths 0 and 1 where the recurrence has them, and once more with arrays longer than any example."""
    single = compiled(ZOO[name](), "numpy")
    net = ZOO[name]().compile(backend, dtype="float64")
    of_zoo(name, SOME, 0).check(net, single)
    of_zoo(name, {"T": [1, 4], "S": [3, 2]}, 1).check(net, single)
    if len(time_axes(ZOO[name]())) > 1:
        for even, other in (("T", "S"), ("S", "T")):
            batch = of_zoo(name, {even: [3, 3], other: [4, 2]}, 1)
            replace(batch, even=even).check(net, single)


@pytest.mark.parametrize("name", ZOO)
def test_a_padded_batch_is_its_examples(name: str) -> None:
    check_zoo(name, "numpy")


@pytest.mark.parametrize("name", ACROSS)
@pytest.mark.parametrize("backend", ["reference", "native"])
def test_on_every_backend(name: str, backend: str) -> None:
    if backend == "native":
        pytest.importorskip("llvmlite")
    check_zoo(name, backend)


ends = st.lists(st.integers(0, 5), min_size=3, max_size=3)


@settings(
    max_examples=5,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    report_multiple_bugs=False,
    phases=(Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink),
)
@given(templates(), ends, ends, st.integers(0, 1), st.integers(0, 2**16), st.sampled_from(["", "", "T", "S"]))
def test_any_template(g: Template, along_t: Any, along_s: Any, longer: int, seed: int, even: str) -> None:
    note(str(g))
    try:
        lengths = {end: along_t if end == "T" else along_s for end in time_axes(g)}
        assume(bool(lengths))
        if len(lengths) == 1:
            even = ""
        lengths |= {end: [ends[0]] * len(ends) for end, ends in lengths.items() if end == even}
        net = g.compile("numpy", dtype="float64")
        Batch(g, lengths, longer, seed, even).check(net, net)
    except (TemplateError, LengthError, Wild):
        assume(False)


def replicated() -> Template:
    g = Template("replicated")
    x, a = g.input("x", over=(t, s)), g.param("a")
    u, h = g.variable("u", ()), g.variable("h", ())
    u[0, s], u[t, 0], u[t, S + 1] = 0.5, 0.25, u[t, S] * a
    u[0, 0], u[0, S + 1] = 0, 1
    u[t, s] = ops.tanh(a * u[t - 1, s - 1] + x[t, s] * u[t - 1, s + 1])
    h[0], h[T + 1] = a, a * h[T]
    h[t] = ops.sin(h[t - 1] + a)
    g.output("total", ops.sum(u[t, s], over=(t, s)) + ops.sum(h[t + 1] * h[t], over=t))
    g.loss = ops.sum(u[t, s], over=(t, s))
    return g


def test_what_follows_the_last_step_may_follow_from_it() -> None:
    batch = Batch(replicated(), {"T": [3, 1, 4], "S": [2, 4, 1]}, 0, 0)
    net = batch.g.compile("numpy", dtype="float64")
    got = net.run(batch.padded.params, **batch.padded.arrays, lengths=batch.lengths)["total"]
    close(got, [net.run(it.params, **it.arrays)["total"] for it in batch.examples], EXACT, "total")
    batch.check(net, net)


def test_second_derivatives_and_directions() -> None:
    batch = of_zoo("lstm_eight_matrices", SOME, 0)
    net, it, given = batch.g.compile("numpy", dtype="float64"), batch.padded, {"lengths": SOME["T"]}
    rng = np.random.default_rng(0)
    along = {n: rng.normal(size=v.shape) for n, v in it.params.items()}
    _, tangent = net.jvp(it.params, along, **it.arrays, **given)
    curved = net.hessian_vector(it.params, along, **it.arrays, **given)
    tangents = [net.jvp(one.params, along, **one.arrays)[1] for one in batch.examples]
    close(tangent, np.mean(tangents), EXACT, "jvp")
    for name, value in curved.items():
        ones = [net.hessian_vector(one.params, along, **one.arrays)[name] for one in batch.examples]
        close(value, np.mean(ones, axis=0), EXACT, f"hessian_vector by {name}")


def test_what_is_infinite_beyond_the_end_is_no_finding() -> None:
    g = Template("reciprocal")
    x, w = g.input("x"), g.param("w")
    g.output("top", ops.max(w / x[t], over=t))
    g.loss = ops.sum(w / x[t], over=t) + ops.sum(ops.softmax(1 / x[t], over=t) * x[t], over=t)
    x = np.array([[1.0, 2.0], [np.nan, 4.0]])
    net = g.compile("numpy", dtype="float64", debug_nans=True)
    loss, grads = net.value_and_grad({"w": np.float64(3)}, x=x, lengths=[1, 2])
    whole = [net.value_and_grad({"w": np.float64(3)}, x=x[:n, b]) for b, n in enumerate((1, 2))]
    close(loss, np.mean([value for value, _ in whole]), EXACT, "loss")
    close(grads["w"], np.mean([g["w"] for _, g in whole]), EXACT, "gradient")


@pytest.mark.parametrize("batch_first", [False, True])
def test_lists_are_padded(batch_first: bool) -> None:
    g = ZOO["elman"]()
    net = g.compile("numpy", dtype="float64", batch_first=batch_first)
    params, rng = params_for(g, np.random.default_rng(1)), np.random.default_rng(0)
    xs = [rng.normal(size=(n, 3)) for n in (2, 0, 4)]
    ys = [rng.integers(0, 5, n) for n in (2, 0, 4)]
    kept = [x.copy() for x in xs]
    loss, grads = net.value_and_grad(params, "x", x=xs, y=ys)
    assert grads["x"].shape == ((3, 4, 3) if batch_first else (4, 3, 3))
    close(loss, np.mean([net.loss(params, x=x, y=y) for x, y in zip(xs, ys, strict=True)]), EXACT, "loss")
    assert net.loss(params, x=xs, y=ys, lengths=[2, 0, 4]) == loss
    assert all(np.array_equal(a, b) for a, b in zip(xs, kept, strict=True))
    equal = [x[:2] for x in (xs[0], xs[2])]
    stacked = np.stack(equal, axis=0 if batch_first else 1)
    assert np.array_equal(net.run(params, "h", x=equal), net.run(params, "h", x=stacked))


def test_full_lengths_take_the_plain_program() -> None:
    g = ZOO["elman"]()
    net, params = g.compile("numpy", dtype="float64"), params_for(g, np.random.default_rng(1))
    x = np.ones((4, 2, 3))
    plain = net.run(params, "h", x=x)
    assert np.array_equal(net.run(params, "h", x=x, lengths=[4, 4]), plain)
    assert len(net._programs.compiled) == 1
    one = net.run(params, "h", x=x[:, 0], lengths=3)
    assert np.array_equal(one[:3], net.run(params, "h", x=x[:3, 0]))
    assert not one[3:].any()


def test_lengths_alone_tell_the_steps_and_the_batch() -> None:
    g = ZOO["params_alone"]()
    net, params = g.compile("numpy", dtype="float64"), params_for(g, np.random.default_rng(1))
    got = net.run(params, "x", lengths=[2, 3])
    assert got.shape == (3, 2, 3)
    close(got[:2, 0], net.run(params, "x", T=2), EXACT, "first example")


@pytest.mark.parametrize("lengths", [[5, 0, 1, 4], [2, 3, 6, 6]])
def test_chunks_are_counted_in_each_example(lengths: list[int]) -> None:
    """Those of a recurrence from right to left begin at each example's own end."""
    both = ZOO["bidirectional"]()
    feeding = Template("feeding")
    y, o, w = feeding.input("y"), feeding.variable("o", ()), feeding.param("w")
    o[0] = 1
    o[t] = ops.tanh(w * o[t - 1]) + 0.5
    feeding.loss = ops.sum((o[t] - y[t]) ** 2, over=t)
    for g in (both.truncated(2), both.truncated(2, sliding=True), feeding.open_loop({"o": "y"}, 3)):
        rng = np.random.default_rng(0)
        net, params = g.compile("numpy", dtype="float64"), params_for(g, rng)
        decls = {n: d for n, d in g.system.decls.items() if d.kind == "input" and not d.automatic}
        given = {
            n: [rng.integers(0, 2, k) if d.dtype == "int" else rng.normal(size=(k, *d.shape)) for k in lengths]
            for n, d in decls.items()
        }
        loss, grads = net.value_and_grad(params, **given)
        alone = [net.value_and_grad(params, **{n: v[b] for n, v in given.items()}) for b in range(len(lengths))]
        close(loss, np.mean([value for value, _ in alone]), EXACT, "loss")
        for name in params:
            close(grads[name], np.mean([one[name] for _, one in alone], axis=0), EXACT, f"gradient by {name}")


def test_another_axis_can_be_the_ragged_one() -> None:
    q, _ = axis("q")
    g = Template("sets")
    x, w = g.input("x", 2, over=q), g.param("w", 2)
    g.output("pooled", ops.mean(x[q] * w, over=q))
    x = np.arange(12.0).reshape(3, 2, 2)
    got = g.compile("numpy", dtype="float64").run({"w": np.ones(2)}, x=x, lengths={"Q": [1, 3]})["pooled"]
    close(got, [x[0, 0], x[:, 1].mean(axis=0)], EXACT, "mean over the steps that there are")


@pytest.mark.parametrize("backend", ["reference", "numpy", "native"])
@pytest.mark.parametrize("length", [0, 1, 3])
def test_a_term_of_neither_axis_counts_for_every_step_of_both(backend: str, length: int) -> None:
    """Also where examples have lengths of their own on one of the axes alone."""
    if backend == "native":
        pytest.importorskip("llvmlite")
    g = Template("apart")
    x, w = g.input("x", over=(s, t)), g.param("w", 3)
    g.loss = ops.sum(ops.sum(x[s, t] + ops.max(w), over=t), over=s)
    net = g.compile(backend, dtype="float64")
    loss, grads = net.value_and_grad({"w": np.array([3.0, 1, 2])}, x=np.zeros((length, 5, 2)), lengths={"T": [4, 1]})
    close(loss, 3 * 2.5 * length, EXACT, "loss")
    close(grads["w"], [2.5 * length, 0, 0], EXACT, "gradient")


@pytest.mark.parametrize("backend", ["reference", "numpy", "native"])
def test_a_boundary_of_zero_is_read_by_another_boundary(backend: str) -> None:
    if backend == "native":
        pytest.importorskip("llvmlite")
    g = Template("corners")
    x, y = g.input("x", 2, over=s), g.input("y", 2, over=(t, s))
    y[t, S + 1] = x[S + 1] + y[t, S]
    x[S + 1] = 0
    g.loss = ops.sum(x[s] @ y[t, s + 1], over=(t, s))
    xs, ys = np.arange(6.0).reshape(3, 1, 2), np.ones((2, 3, 1, 2))
    loss = g.compile(backend, dtype="float64").loss({}, x=xs, y=ys, lengths={"S": [2]})
    close(loss, 2 * xs[:2].sum(), EXACT, "loss")


@pytest.mark.parametrize("backend", ["reference", "numpy", "native"])
def test_what_no_order_of_steps_computes_is_refused(backend: str) -> None:
    """Also where a graph is walked without a program: this one has a circle at n = 0, and the walk had no end."""
    if backend == "native":
        pytest.importorskip("llvmlite")
    g = Template("circle")
    x, w = g.input("x", over=t), g.param("w")
    x[T + 1], x[T + 2] = ops.min(x[t] * w, over=t), 0.0
    g.loss = ops.sum(x[t + 2] * x[t], over=t)
    net, params, given = g.compile(backend, dtype="float64"), {"w": np.array(2.0)}, np.array([[1.0, 3], [2, 4], [3, 5]])
    close(net.loss(params, x=given[:, 0]), 3.0 * 1 + 2 * 2, EXACT, "loss")
    with pytest.raises(CausalityError, match="with lengths of their own, no order of steps can compute"):
        net.value_and_grad(params, ["x"], x=given, lengths=[2, 3])

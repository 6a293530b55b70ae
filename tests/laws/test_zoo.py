"""The laws on every recurrence of the zoo, at no step, at one, and at fewer than the longest delay."""

from __future__ import annotations

import zlib
from functools import cache
from typing import Any

import numpy as np
import pytest
from helpers.zoo import ZOO, S, arrays_for, lengths_for, params_for, s

from laws.agreement import (
    DERIVED,
    EXACT,
    STEP,
    Specimen,
    check_backend,
    check_gradient,
    close,
    complex_step,
    directions,
    everything,
    frozen,
    nonsmooth,
    same,
)
from unroll import T, Template, ops, t
from unroll.errors import LengthError

LENGTHS = (0, 1, 2, 7)
BATCH = 3
SINGLE = 5e-4  # float32 against float64, after a few dozen operations

every_length = pytest.mark.parametrize("steps", LENGTHS)
two_lengths = pytest.mark.parametrize("steps", [0, 2])
every_recurrence = pytest.mark.parametrize("name", ZOO)


@cache
def template(name: str) -> Template:
    """One template for all tests, so that one compiled net sees every length and batch size."""
    return ZOO[name]()


def specimen(name: str, steps: int, batch: int | None = BATCH) -> Specimen:
    """A recurrence with arrays that cannot be written to, the same for the same arguments."""
    rng = np.random.default_rng(zlib.crc32(f"{name} {steps} {batch}".encode()))
    g = template(name)
    return Specimen(g, frozen(params_for(g, rng)), frozen(arrays_for(g, lengths_for(g, steps), batch, rng)))


def input_axes(it: Specimen, name: str) -> int:
    """How many time axes stand before the batch axis of an input."""
    return len(it.template.system.decls[name].axes)


def inputs(it: Specimen) -> list[str]:
    """The inputs by name."""
    return [n for n, d in it.template.system.decls.items() if d.kind == "input"]


def with_inputs(it: Specimen, change: Any) -> Specimen:
    """The specimen with ``change(name, array)`` in place of each input."""
    changed = {n: change(n, it.arrays[n]) for n in inputs(it)}
    return Specimen(it.template, it.params, {**it.arrays, **changed})


def batched_results(it: Specimen) -> dict[str, int]:
    """The results that have a batch axis, as `everything` names them, and where that axis stands."""
    system = it.template.system
    found = {}
    for name in it.variables:
        decl = system.decls[name if isinstance(name, str) else name[0]]
        if decl.batched:
            at = len(decl.axes) if isinstance(name, str) else 0
            found.update({f"with the others, {name}": at, f"alone, {name}": at})
    for name, ref in system.outputs.items():
        if system.decls[ref.name].batched:
            found[f"output {name}"] = len(ref.running)
    found.update({f"gradient by {n}": input_axes(it, n) for n in inputs(it) if n in it.floats})
    return found


@every_length
@every_recurrence
def test_numpy_equals_reference(name: str, steps: int) -> None:
    check_backend(specimen(name, steps))


@every_length
@every_recurrence
def test_gradient(name: str, steps: int, rng: np.random.Generator) -> None:
    it = specimen(name, steps)
    _, gradient = it.net().value_and_grad(it.params, it.floats, **it.arrays)
    check_gradient(it, gradient, rng, analytic=not nonsmooth(it.template))


@every_length
@every_recurrence
def test_jvp(name: str, steps: int, rng: np.random.Generator) -> None:
    it = specimen(name, steps)
    direction = directions(it, it.floats, rng)
    exact = it.net("reference", "complex128")
    value, tangent = it.net().jvp(it.params, direction, **it.arrays)
    close(value, it.net().loss(it.params, **it.arrays), EXACT, "value beside the jvp")
    close(tangent, complex_step(exact, it, direction), DERIVED, "jvp")
    variable = it.variables[0]
    _, tangent = it.net().jvp(it.params, direction, variable, **it.arrays)
    params, arrays = it.moved(direction, STEP * 1j)
    close(tangent, np.imag(exact.run(params, variable, **arrays)) / STEP, DERIVED, f"jvp of {variable}")


@every_length
@every_recurrence
def test_hessian_vector(name: str, steps: int, rng: np.random.Generator) -> None:
    it = specimen(name, steps)
    vector = directions(it, list(it.params), rng)
    got = it.net().hessian_vector(it.params, vector, **it.arrays)
    params, arrays = it.moved(vector, STEP * 1j)
    _, moved = it.net("reference", "complex128").value_and_grad(params, **arrays)
    same(got, {n: np.imag(m) / STEP for n, m in moved.items()}, DERIVED, "hessian_vector")


@every_recurrence
def test_hessian_vector_along_one_param(name: str, rng: np.random.Generator) -> None:
    it = specimen(name, 2)
    vectors = directions(it, list(it.params), rng)
    parts = [it.net().hessian_vector(it.params, {n: v}, **it.arrays) for n, v in vectors.items()]
    whole = it.net().hessian_vector(it.params, vectors, **it.arrays)
    same({n: sum(p[n] for p in parts) for n in whole}, whole, DERIVED, "sum over the params")


@two_lengths
@every_recurrence
def test_unbatched_is_a_batch_of_one(name: str, steps: int) -> None:
    one = specimen(name, steps, None)
    batch = with_inputs(one, lambda n, x: np.expand_dims(x, input_axes(one, n)))
    got, want = everything(one.net(), one), everything(one.net(), batch)
    if inputs(one):
        for result, axis in batched_results(one).items():
            want[result] = np.squeeze(want[result], axis)
    same(got, want, 0, "unbatched")


@two_lengths
@every_recurrence
def test_batch_first_is_transposed(name: str, steps: int) -> None:
    it = specimen(name, steps)
    first = with_inputs(it, lambda n, x: np.moveaxis(x, input_axes(it, n), 0))
    got, want = everything(it.net(batch_first=True), first), everything(it.net(), it)
    if inputs(it):
        for result, axis in batched_results(it).items():
            want[result] = np.moveaxis(want[result], axis, 0)
    same(got, want, EXACT, "batch_first")


@every_length
@pytest.mark.parametrize("name", [n for n in ZOO if inputs(specimen(n, 0))])
def test_a_batch_is_its_examples(name: str, steps: int) -> None:
    it = specimen(name, steps)
    whole = everything(it.net(), it)
    where = batched_results(it)
    total: dict[str, Any] = {}
    for b in range(BATCH):
        one = with_inputs(it, lambda n, x, b=b: np.take(x, b, input_axes(it, n)))
        for result, value in everything(it.net(), one).items():
            if result in where:
                scale = BATCH if result.startswith("gradient") else 1
                got = scale * np.take(whole[result], b, where[result])
                close(got, value, EXACT, f"example {b}, {result}")
            else:
                total[result] = total.get(result, 0) + value / BATCH
    for result, value in total.items():
        close(whole[result], value, EXACT, f"mean over the examples, {result}")


@every_recurrence
def test_float32_is_close(name: str) -> None:
    it = specimen(name, 7)

    def single(arrays: Any) -> dict[str, Any]:
        kinds = {n: getattr(getattr(a, "dtype", None), "kind", "") for n, a in arrays.items()}
        return {n: a.astype("float32") if kinds[n] == "f" else a for n, a in arrays.items()}

    want = everything(it.net(), it)
    got = everything(it.net(dtype="float32"), Specimen(it.template, single(it.params), single(it.arrays)))
    assert got
    for result, value in got.items():
        assert value.dtype == np.float32, f"{result} is {value.dtype}"
    same(got, want, SINGLE, "float32")


@every_recurrence
def test_memory_is_used_again_without_a_trace(name: str) -> None:
    at = [(7, 3), (2, 2), (5, 1), (0, 3), (7, 2)]
    net = ZOO[name]().compile("numpy", dtype="float64")
    specimens = [specimen(name, steps, batch) for steps, batch in at]
    first = [everything(net, it) for it in specimens]
    kept = [{n: np.array(v) for n, v in found.items()} for found in first]
    for it, found, copy in zip(specimens, first, kept, strict=True):
        again = everything(net, it)
        same(again, copy, 0, f"the same again, at {it.lengths}")
        same(found, copy, 0, f"earlier results after later calls, at {it.lengths}")


@every_recurrence
def test_results_are_arrays_of_their_own(name: str) -> None:
    it = specimen(name, 2)
    want = {n: np.array(v) for n, v in everything(it.net(), it).items()}
    assert want
    for result, value in everything(it.net(), it).items():
        for given in (*it.params.values(), *it.arrays.values()):
            assert not np.shares_memory(value, given), f"{result} is a view of what was given"
        if isinstance(value, np.ndarray):
            value[...] = 99
    same(everything(it.net(), it), want, 0, "after the results were written over")


@every_recurrence
def test_layout_of_what_is_given_does_not_matter(name: str) -> None:
    it = specimen(name, 2)

    def strided(_: str, x: Any) -> Any:
        wide = np.zeros((*x.shape, 2), x.dtype, order="F")
        wide[..., 1] = x
        return wide[..., 1]

    odd = with_inputs(it, strided)
    odd = Specimen(odd.template, {n: strided(n, p) for n, p in it.params.items()}, odd.arrays)
    same(everything(it.net(), odd), everything(it.net(), it), EXACT, "strided arrays")


@pytest.mark.parametrize("backend", ["numpy", "reference"])
def test_a_step_that_nobody_defines_has_no_value(backend: str) -> None:
    g = Template("corner")
    x, c, v = g.input("x", over=(t, s)), g.param("c"), g.variable("v", ())
    v[t, s] = c * x[t, s]
    v[t, 0], v[0, s] = 1, 2  # the read of v[T, 0] is one of v[0, 0] where T is 0
    g.loss = ops.sum(v[T, s - 1], over=s)
    net, params = g.compile(backend, dtype="float64"), {"c": np.float64(3)}
    assert net.loss(params, x=np.ones((1, 3))) == 7
    with pytest.raises(LengthError, match="that step does not exist"):
        net.loss(params, x=np.ones((0, 3)))


@pytest.mark.parametrize("backend", ["numpy", "reference"])
def test_the_last_step_of_nothing_matters_only_where_it_is_read(backend: str) -> None:
    g = Template("last")
    x, y, w = g.input("x", over=s), g.input("y"), g.param("w")
    g.output("z", y[t] * x[S])
    g.loss = ops.sum(y[t] * w * x[S], over=t) + ops.sum(y[t] * w + y[T], over=t)
    net, params = g.compile(backend, dtype="float64"), {"w": np.float64(2)}
    value, gradient = net.value_and_grad(params, x=np.ones(0), y=np.ones(0))
    assert (value, gradient["w"]) == (0, 0)
    assert net.run(params, x=np.ones(0), y=np.ones(0))["z"].shape == (0,)
    with pytest.raises(LengthError, match="that step does not exist"):
        net.loss(params, x=np.ones(0), y=np.ones(1))


@pytest.mark.parametrize("backend", ["numpy", "reference"])
def test_a_sum_over_no_steps_is_zero_even_of_nan(backend: str) -> None:
    g = Template("nan")
    x, w = g.input("x"), g.param("w")
    g.loss = ops.sum(x[t] * ops.mean(x[t], over=t), over=t) * w + w
    value, gradient = g.compile(backend, dtype="float64").value_and_grad({"w": np.float64(2)}, x=np.ones(0))
    assert (value, gradient["w"]) == (2, 1)

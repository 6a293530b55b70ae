"""Random templates: whatever the checks let pass runs the same on every backend, with the right derivatives."""

from __future__ import annotations

from typing import Any

import numpy as np
from helpers.zoo import arrays_for, params_for
from hypothesis import HealthCheck, assume, event, given, note, settings
from hypothesis import strategies as st

from laws.agreement import EXACT, Specimen, along, close, complex_step, directions, same
from laws.templates import templates
from unroll import Template
from unroll.errors import LengthError, TemplateError

LARGEST = 1e3


class Wild(Exception):
    """Numbers in which rounding shows: nothing can be compared to a tolerance."""


sizes = st.tuples(st.integers(0, 5), st.integers(0, 4), st.integers(1, 3))


def specimen(g: Template, size: tuple[int, int, int], seed: int) -> Specimen:
    """The template with random arrays."""
    rng = np.random.default_rng(seed)
    steps, other, batch = size
    arrays = arrays_for(g, {"T": steps, "S": other}, batch, rng)
    used = {a.end for d in g.system.decls.values() for a in d.axes}
    used |= {r.axis.end for e in g.system.equations for r in e.domain}
    arrays = {n: v for n, v in arrays.items() if n not in ("T", "S") or n in used}
    return Specimen(g, params_for(g, rng), arrays)


def tame(values: dict[Any, Any]) -> None:
    """Raise `Wild` where something grew large."""
    if not all(np.all(np.isfinite(v)) and np.all(np.abs(v) < LARGEST) for v in values.values()):
        raise Wild


def compare(it: Specimen, net: Any, second: bool, seed: int) -> None:
    """One template at one length: values and gradients against `reference`, gradients against the complex step."""
    rng = np.random.default_rng(seed)
    reference = it.net("reference")
    want = reference.run(it.params, it.variables, **it.arrays)
    tame(want)
    same(net.run(it.params, it.variables, **it.arrays), want, EXACT, "all variables")
    if it.template.system.outputs:
        same(net.run(it.params, **it.arrays), reference.run(it.params, **it.arrays), EXACT, "outputs")
    value, grads = net.value_and_grad(it.params, it.floats, **it.arrays)
    value_, grads_ = reference.value_and_grad(it.params, it.floats, **it.arrays)
    tame({"loss": value_, **grads_})
    close(value, value_, EXACT, "loss")
    same(grads, grads_, EXACT, "gradients")
    exact = it.net("reference", "complex128")
    direction = directions(it, it.floats, rng)
    close(along(grads, direction), complex_step(exact, it, direction), 1e-9, "gradient, complex step")
    if second:
        check_second_order(it, net, exact, rng)


def check_second_order(it: Specimen, net: Any, exact: Any, rng: np.random.Generator) -> None:
    """The products with the Jacobian and the Hessian."""
    direction = directions(it, it.floats, rng)
    value, tangent = net.jvp(it.params, direction, **it.arrays)
    close(tangent, complex_step(exact, it, direction), 1e-9, "jvp")
    names = list(it.params)
    if not names:
        return
    v, u = directions(it, names, rng), directions(it, names, rng)
    got = along(net.hessian_vector(it.params, v, **it.arrays), u)
    params, arrays = it.moved(v, 1e-20j)
    _, moved = exact.value_and_grad(params, **arrays)
    tame(moved)
    close(got, along({n: np.imag(m) / 1e-20 for n, m in moved.items()}, u), 1e-8, "hessian_vector, complex step")


@settings(suppress_health_check=list(HealthCheck))
@given(templates(), sizes, sizes, st.booleans(), st.integers(0, 2**16))
def test_any_template(g: Template, size: Any, other: Any, second: bool, seed: int) -> None:
    note(str(g))
    try:
        _ = g.system
    except TemplateError as error:
        event(type(error).__name__)
        assume(False)
    net = g.compile("numpy", dtype="float64")
    for at in (size, other, size):  # one net at several lengths: its memory is used again
        try:
            compare(specimen(g, at, seed), net, second and at == size, seed)
        except (LengthError, Wild) as error:
            event(type(error).__name__)
            assume(False)
    event("compared")

"""Random templates: whatever the checks let pass runs the same on every backend, with the right derivatives."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import numpy as np
from helpers.zoo import arrays_for, params_for
from hypothesis import HealthCheck, Phase, assume, event, given, note, settings
from hypothesis import strategies as st

from laws.agreement import EXACT, STEP, Specimen, along, close, complex_step, directions, poison, same
from laws.templates import templates
from unroll import Net, Template
from unroll.errors import LengthError, TemplateError

NATIVE = int(os.environ.get("UNROLL_NATIVE_EXAMPLES", "15"))  # each compiles for a quarter of a second or more
LARGEST = 1e3
LOOSE = 1e-9  # a derivative of anything at all and the complex step


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


@dataclass(frozen=True)
class Nets:
    """One template compiled three times."""

    tried: Net
    reference: Net
    exact: Net

    @classmethod
    def of(cls, g: Template, backend: str) -> Nets:
        """For one backend."""
        exact = g.compile("reference", dtype="complex128")
        return cls(g.compile(backend, dtype="float64"), g.compile("reference", dtype="float64"), exact)


def compare(it: Specimen, nets: Nets, seed: int) -> None:
    """One template at one length: values and gradients against `reference`, gradients against the complex step."""
    rng = np.random.default_rng(seed)
    want = nets.reference.run(it.params, it.variables, **it.arrays)
    tame(want)
    same(nets.tried.run(it.params, it.variables, **it.arrays), want, EXACT, "all variables")
    if it.template.system.outputs:
        same(nets.tried.run(it.params, **it.arrays), nets.reference.run(it.params, **it.arrays), EXACT, "outputs")
    value, grads = nets.tried.value_and_grad(it.params, it.floats, **it.arrays)
    want_value, want_grads = nets.reference.value_and_grad(it.params, it.floats, **it.arrays)
    tame({"loss": want_value, **want_grads})
    close(value, want_value, EXACT, "loss")
    same(grads, want_grads, EXACT, "gradients")
    poison(nets.tried)
    same(nets.tried.value_and_grad(it.params, it.floats, **it.arrays)[1], grads, 0, "gradients once more")
    same(nets.tried.run(it.params, it.variables, **it.arrays), want, EXACT, "all variables once more")
    direction = directions(it, it.floats, rng)
    close(along(grads, direction), complex_step(nets.exact, it, direction), LOOSE, "gradient, complex step")


def check_second_order(it: Specimen, nets: Nets, seed: int) -> None:
    """The products with the Jacobian and the Hessian."""
    rng = np.random.default_rng(seed)
    direction = directions(it, it.floats, rng)
    _, tangent = nets.tried.jvp(it.params, direction, **it.arrays)
    close(tangent, complex_step(nets.exact, it, direction), LOOSE, "jvp")
    if it.params:
        v, u = directions(it, list(it.params), rng), directions(it, list(it.params), rng)
        got = along(nets.tried.hessian_vector(it.params, v, **it.arrays), u)
        params, arrays = it.moved(v, STEP * 1j)
        _, moved = nets.exact.value_and_grad(params, **arrays)
        want = along({n: np.imag(m) / STEP for n, m in moved.items()}, u)
        tame({"hessian": want})
        close(got, want, LOOSE, "hessian_vector, complex step")


PHASES = (Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink)


def check(g: Template, size: Any, other: Any, second: bool, seed: int, backend: str) -> None:
    """One template at two lengths, on one backend."""
    note(str(g))
    try:
        _ = g.system
    except TemplateError as error:
        event(type(error).__name__)
        assume(False)
    nets = Nets.of(g, backend)
    try:
        compare(specimen(g, size, seed), nets, seed)
        compare(specimen(g, other, seed), nets, seed)  # the same net at another length
        if second:
            check_second_order(specimen(g, size, seed), nets, seed)
    except (LengthError, Wild) as error:
        event(type(error).__name__)
        assume(False)
    event("compared")


@settings(suppress_health_check=list(HealthCheck), report_multiple_bugs=False, phases=PHASES)
@given(templates(), sizes, sizes, st.booleans(), st.integers(0, 2**16))
def test_any_template(g: Template, size: Any, other: Any, second: bool, seed: int) -> None:
    check(g, size, other, second, seed, "numpy")


@settings(suppress_health_check=list(HealthCheck), report_multiple_bugs=False, phases=PHASES, max_examples=NATIVE)
@given(templates(), sizes, sizes, st.booleans(), st.integers(0, 2**16))
def test_any_template_natively(g: Template, size: Any, other: Any, second: bool, seed: int) -> None:
    check(g, size, other, second, seed, "native")

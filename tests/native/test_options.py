"""What a user can switch off: each switch changes what the program does, and names that mean nothing are refused."""

from __future__ import annotations

import pytest
from laws.agreement import executables

from unroll import Net, Template, ops, t
from unroll.errors import BackendError

pytest.importorskip("llvmlite")


def elman(*without: str, backend: str = "native") -> Net:
    g = Template("elman")
    x, W, U = g.input("x", 8), g.param("W", (8, 8)), g.param("U", (8, 8))
    h = g.variable("h", 8)
    h[0] = 0
    h[t] = ops.tanh(W @ h[t - 1] + U @ x[t])
    g.loss = ops.sum(ops.sum(h[t] * h[t]), over=t)
    return g.compile(backend, without=without)


@pytest.mark.parametrize("backend", ["numpy", "native"])
def test_without_hoisting_every_product_runs_step_by_step(backend: str) -> None:
    assert sum(elman(backend=backend).explain().products[1:]) == 2
    report = elman("hoist", backend=backend).explain()
    assert report.products[0] == 0
    assert sum(report.products) == 5
    assert "it is a loop because nothing is hoisted" in str(report)


def test_without_the_arena_nothing_shares_memory() -> None:
    plain, apart = (elman(*without).explain(T=100, batch=10) for without in ((), ("arena",)))
    assert plain.memory is not None
    assert apart.memory is not None
    assert plain.memory < apart.memory


def test_without_panels_matrices_are_packed_anew_at_every_step() -> None:
    """Before a loop only its matrix is packed; within one there is room for any product."""
    rooms = []
    for without in ((), ("panels",)):
        net = elman(*without)
        net.explain()
        (run,) = executables(net)
        packed = [count for name, count, _ in run.emitted.packs if name.startswith("~pack ")]
        assert not any(count.symbols for count in packed)
        rooms.append([count.factor for count in packed])
    plain, anew = rooms
    assert len(plain) == len(anew) == 3
    assert sorted(plain)[1] < min(anew) == max(plain)


@pytest.mark.parametrize(("name", "backend"), [("unknown", "native"), ("arena", "numpy")])
def test_a_name_that_means_nothing_is_refused(name: str, backend: str) -> None:
    with pytest.raises(BackendError, match=f"without='{name}': what {backend} can do without is merge, .*, hoist"):
        elman(name, backend=backend)

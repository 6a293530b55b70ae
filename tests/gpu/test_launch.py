"""What launches plans, run on a stand-in for CuPy: eager, captured, replayed, and when something fails."""

from __future__ import annotations

from typing import Any

import pytest
from helpers import fakecupy
from helpers.fakecupy import World
from laws.agreement import EXACT, Arrays, Specimen, poison, same
from laws.test_zoo import specimen

from unroll.model import Net

NAMES = ("lstm_eight_matrices", "attention", "scalar_params")


def both(net: Net, it: Specimen) -> Arrays:
    """The value with its gradients, and the outputs."""
    value, grads = net.value_and_grad(it.params, it.floats, **it.arrays)
    found = {"loss": value, **grads}
    return {n: v.get() if isinstance(v, fakecupy.ndarray) else v for n, v in found.items()}


def there(arrays: Any) -> Any:
    """The arrays on the current device."""
    return {n: fakecupy.asarray(v) for n, v in arrays.items()}


@pytest.mark.parametrize("steps", [0, 1, 7])
@pytest.mark.parametrize("name", ["lstm_eight_matrices", "attention"])
def test_eager_captured_and_replayed(name: str, steps: int, cuda: World) -> None:
    it = specimen(name, steps)
    want, net = both(it.net(), it), it.net("cupy")
    first = both(net, it)
    same(first, want, EXACT, "eager")
    assert cuda.calls["graph"] == 0
    for run in ("captured", "replayed", "replayed again"):
        poison(net)
        same(both(net, it), first, 0, run)
    assert cuda.calls["begin_capture"] == 1
    assert cuda.calls["graph"] == 3

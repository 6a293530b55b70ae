"""PyTorch's own RNN, LSTM and GRU as judges of the cells: values and gradients, in layers and in both directions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from unroll import T, Template, cells, ops, t

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install torch")

STEPS, BATCH, IN, UNITS = 7, 3, 4, 5
CELLS = {
    "rnn": (cells.elman, {}, torch.nn.RNN, {}, ("",)),
    "relu": (cells.elman, {"activation": ops.relu}, torch.nn.RNN, {"nonlinearity": "relu"}, ("",)),
    "lstm": (cells.lstm, {}, torch.nn.LSTM, {}, ("i", "f", "g", "o")),
    "gru": (cells.gru, {"reset_after": True}, torch.nn.GRU, {}, ("r", "z", "n")),
}
"""A cell, PyTorch's module, and our letters in the order of its gates."""


def stacked(module: Any, gates: tuple[str, ...], layers: int, directions: int) -> Iterator[tuple[str, Any, int]]:
    """Our names, each with PyTorch's array that holds it and the number of the part."""
    for k in range(layers):
        for direction in range(directions):
            theirs = f"_l{k}" + ("_reverse" if direction else "")
            ours = f"h{k + 1 if layers > 1 else ''}" + (("_fwd", "_bwd")[direction] if directions > 1 else "")
            for part, gate in enumerate(gates):
                yield f"U{gate}_{ours}", getattr(module, f"weight_ih{theirs}"), part
                yield f"W{gate}_{ours}", getattr(module, f"weight_hh{theirs}"), part
                yield f"b{gate}_{ours}", getattr(module, f"bias_ih{theirs}"), part
                if gate == "n":
                    yield f"c{gate}_{ours}", getattr(module, f"bias_hh{theirs}"), part


@pytest.mark.parametrize("kind", CELLS)
@pytest.mark.parametrize(("layers", "directions"), [(1, 1), (2, 1), (1, 2), (2, 2)])
def test_values_and_gradients(kind: str, layers: int, directions: int, rng: np.random.Generator) -> None:
    cell, options, module, same, gates = CELLS[kind]
    g = Template(kind)
    x, w = g.input("x", IN), g.input("w", UNITS * directions)
    if layers > 1:
        y, made = cells.stack(g, cell, x[t], [UNITS] * layers, bidirectional=directions > 1, **options)
        ends = [end for each in made for end in (each if directions > 1 else [each])]
    elif directions > 1:
        y, ends = cells.bidirectional(g, cell, x[t], UNITS, **options)
    else:
        ends = [cells.layer(g, cell, x[t], UNITS, **options)]
        y = (ends[0][0] if kind == "lstm" else ends[0])[t]
    last = {}
    for n, end in enumerate(ends):
        for k, part in enumerate(end if isinstance(end, tuple) else (end,)):
            last[k, n] = part[1] if directions > 1 and n % 2 else part[T]
            g.output(f"last{k}{n}", last[k, n])
    g.output("y", y)
    g.loss = ops.sum(ops.sum(w[t] * y), over=t) + sum(ops.sum(e * e) for e in last.values())

    judge = module(IN, UNITS, num_layers=layers, bidirectional=directions > 1, **same).double()
    held = list(stacked(judge, gates, layers, directions))
    net = g.compile("numpy", dtype="float64")
    params = {name: value + 0.3 * rng.normal(size=value.shape) for name, value in net.init(seed=0).items()}
    assert sorted(name for name, _, _ in held) == sorted(params)
    with torch.no_grad():
        for array in judge.parameters():
            array.zero_()  # the second bias adds to the first
        for name, array, part in held:
            array[part * UNITS : (part + 1) * UNITS] = torch.from_numpy(params[name])

    X, weights = rng.normal(size=(STEPS, BATCH, IN)), rng.normal(size=(STEPS, BATCH, UNITS * directions))
    output, ended = judge(torch.from_numpy(X))
    ended = ended if isinstance(ended, tuple) else (ended,)
    found = net.run(params, x=X)
    assert np.abs(found["y"] - output.detach().numpy()).max() < 1e-10
    for k, n in last:
        assert np.abs(found[f"last{k}{n}"] - ended[k][n].detach().numpy()).max() < 1e-10

    expected = ((torch.from_numpy(weights) * output).sum() + sum((e * e).sum() for e in ended)) / BATCH
    expected.backward()
    loss, grads = net.value_and_grad(params, x=X, w=weights)
    assert abs(loss - expected.item()) < 1e-10
    for name, array, part in held:
        assert np.abs(grads[name] - array.grad[part * UNITS : (part + 1) * UNITS].numpy()).max() < 1e-10

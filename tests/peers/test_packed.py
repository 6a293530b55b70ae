"""PyTorch as the judge of ragged batches: its packed sequences, outputs and gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from unroll import T, Template, ops, t

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install torch")

IN, HIDDEN = 3, 4
LENGTHS = [3, 1, 6, 2]
GATES = {"RNN": "h", "GRU": "rzn", "LSTM": "ifgo"}


def one_way(g: Template, kind: str, mark: str, width: int, read: Any, forward: bool) -> Any:
    """One direction of one layer, with PyTorch's equations; returns its variable."""
    k = -1 if forward else 1
    p = {
        q: (
            g.param(f"U{q}{mark}", (HIDDEN, width)),
            g.param(f"W{q}{mark}", (HIDDEN, HIDDEN)),
            g.param(f"b{q}{mark}", HIDDEN),
            g.param(f"c{q}{mark}", HIDDEN),
        )
        for q in GATES[kind]
    }
    h, c = g.variable(f"h{mark}", HIDDEN), g.variable(f"c{mark}", HIDDEN)
    start = 0 if forward else T + 1
    h[start] = 0

    def gate(q: str) -> Any:
        U, W, b, e = p[q]
        return U @ read + b + W @ h[t + k] + e

    if kind == "RNN":
        h[t] = ops.tanh(gate("h"))
    elif kind == "GRU":
        U, W, b, e = p["n"]
        z = ops.sigmoid(gate("z"))
        n = ops.tanh(U @ read + b + ops.sigmoid(gate("r")) * (W @ h[t + k] + e))
        h[t] = (1 - z) * n + z * h[t + k]
    else:
        c[start] = 0
        c[t] = ops.sigmoid(gate("f")) * c[t + k] + ops.sigmoid(gate("i")) * ops.tanh(gate("g"))
        h[t] = ops.sigmoid(gate("o")) * ops.tanh(c[t])
    return h


def network(kind: str, layers: int, both: bool) -> Template:
    """The layers, with weighted sums of all outputs and of the final states as the loss."""
    g = Template(kind.lower())
    width, x, y = IN, g.input("x", IN), g.input("y", HIDDEN * (1 + both))
    read, last = x[t], []
    for layer in range(layers):
        found = [one_way(g, kind, f"_{layer}", width, read, True)]
        last.append(found[0][T])
        if both:
            found.append(one_way(g, kind, f"_{layer}r", width, read, False))
            last.append(found[1][1])
        width = HIDDEN * len(found)
        read = ops.concat([h[t] for h in found]) if both else found[0][t]
    g.output("out", read)
    g.loss = ops.sum(ops.dot(read, y[t]), over=t) + sum(ops.sum(ops.sin(h)) for h in last)
    return g


@pytest.mark.parametrize(
    ("kind", "layers", "both", "backend"),
    [("LSTM", 1, True, "numpy"), ("LSTM", 2, False, "native"), ("GRU", 2, True, "numpy"), ("RNN", 1, True, "native")],
)
def test_packed_sequences(kind: str, layers: int, both: bool, backend: str) -> None:
    if backend == "native":
        pytest.importorskip("llvmlite")
    rng = np.random.default_rng(3)
    peer = getattr(torch.nn, kind)(IN, HIDDEN, layers, bidirectional=both).double()
    x = rng.normal(size=(max(LENGTHS), len(LENGTHS), IN))
    y = rng.normal(size=(max(LENGTHS), len(LENGTHS), HIDDEN * (1 + both)))
    given = torch.tensor(x, requires_grad=True)
    packed = torch.nn.utils.rnn.pack_padded_sequence(given, torch.tensor(LENGTHS), enforce_sorted=False)
    out, state = peer(packed)
    out, _ = torch.nn.utils.rnn.pad_packed_sequence(out)
    final = state[0] if kind == "LSTM" else state
    loss = ((out * torch.tensor(y)).sum() + final.sin().sum()) / len(LENGTHS)
    loss.backward()

    params, wanted = {}, {}
    stacks = {"U": "weight_ih", "W": "weight_hh", "b": "bias_ih", "c": "bias_hh"}
    for layer in range(layers):
        for back in (False, True)[: 1 + both]:
            for letter, stack in stacks.items():
                array = getattr(peer, f"{stack}_l{layer}{'_reverse' * back}")
                for number, gate in enumerate(GATES[kind]):
                    rows = slice(number * HIDDEN, (number + 1) * HIDDEN)
                    name = f"{letter}{gate}_{layer}{'r' * back}"
                    params[name], wanted[name] = array.detach().numpy()[rows].copy(), array.grad.numpy()[rows]
    for b, n in enumerate(LENGTHS):
        x[n:, b] = y[n:, b] = np.nan
    net = network(kind, layers, both).compile(backend, dtype="float64")
    value, grads = net.value_and_grad(params, [*params, "x"], x=x, y=y, lengths=LENGTHS)
    assert abs(value - loss.item()) < 1e-10
    for name, want in {**wanted, "x": given.grad.numpy()}.items():
        np.testing.assert_allclose(grads[name], want, rtol=0, atol=1e-10, err_msg=name)
    shown = net.run(params, x=x, lengths=LENGTHS)["out"]
    np.testing.assert_allclose(shown, out.detach().numpy(), rtol=0, atol=1e-10)

"""Products merged: the same values and gradients as without, and as few products as a person would write by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from helpers.zoo import ZOO, S, arrays_for, lengths_for, params_for, s

from laws.agreement import Specimen, executables, poison, same
from unroll import T, Template, ops, t
from unroll.compiler import pipeline
from unroll.compiler.pipeline import compile_system
from unroll.compiler.program import Program
from unroll.compiler.statements import Compute, Repeat, walk
from unroll.errors import NonFiniteError

EXACT = 1e-12
LENGTHS = (0, 1, 2, 5)
PRODUCTS = ("matmul", "outer", "einsum", "dot")
CELLS: dict[str, Callable[[], Template]] = {}

every_cell = pytest.mark.parametrize("name", CELLS)


def cell(make: Callable[[], Template]) -> Callable[[], Template]:
    """Enter a template under its function's name."""
    CELLS[make.__name__] = make
    return make


def matrices(g: Template, names: str, rows: int, *columns: int) -> list[Any]:
    """For each letter its matrices, one for each number of columns, and its bias."""
    sizes = [(letter, (rows, n), f"{kind}{letter}") for letter in names for kind, n in zip("WU", columns, strict=False)]
    made = {(letter, name): g.param(name, shape) for letter, shape, name in sizes}
    return [(*(m for (k, _), m in made.items() if k == letter), g.param(f"b{letter}", rows)) for letter in names]


def lstm_layer(g: Template, x: Any, n: int, gates: Any, h: Any, c: Any, back: int = -1) -> None:
    """An LSTM's equations; each gate has its own matrices."""
    f, i, o, z = (W @ h[t + back] + U @ x + b for W, U, b in gates)
    c[t] = ops.sigmoid(f) * c[t + back] + ops.sigmoid(i) * ops.tanh(z)
    h[t] = ops.sigmoid(o) * ops.tanh(c[t])


@cell
def lstm() -> Template:
    g = Template("lstm")
    x, h, c = g.input("x", 3), g.variable("h", 4), g.variable("c", 4)
    h[0], c[0] = 0, 0
    lstm_layer(g, x[t], 4, matrices(g, "fioz", 4, 4, 3), h, c)
    g.loss = ops.sum(ops.sum(h[t] ** 2), over=t) + ops.sum(c[T])
    return g


@cell
def lstm_concat() -> Template:
    g = Template("concat")
    x, h, c = g.input("x", 3), g.variable("h", 4), g.variable("c", 4)
    h[0], c[0] = g.param("h0", 4), 0
    joined = ops.concat([h[t - 1], x[t]])
    f, i, o, z = (W @ joined + b for W, b in matrices(g, "fioz", 4, 7))
    c[t] = ops.sigmoid(f) * c[t - 1] + ops.sigmoid(i) * ops.tanh(z)
    h[t] = ops.sigmoid(o) * ops.tanh(c[t])
    g.loss = ops.sum(ops.sum(h[t] ** 2), over=t)
    return g


@cell
def lstm_packed() -> Template:
    return ZOO["lstm_packed"]()


@cell
def lstm_rows() -> Template:
    g = Template("rows")  # vectors on the left, and einsum
    x, h, c = g.input("x", 3), g.variable("h", 4), g.variable("c", 4)
    h[0], c[0] = 0, 0
    gates = [(g.param(f"W{k}", (4, 4)), g.param(f"U{k}", (3, 4))) for k in "fioz"]
    f, i, o, z = (ops.einsum("i,ij->j", h[t - 1], W) + x[t] @ U for W, U in gates)
    c[t] = ops.sigmoid(f) * c[t - 1] + ops.sigmoid(i) * ops.tanh(z)
    h[t] = ops.sigmoid(o) * ops.tanh(c[t])
    g.loss = ops.sum(ops.sum(h[t] ** 2), over=t)
    return g


@cell
def gru() -> Template:
    return ZOO["gru"]()


@cell
def gru_reset_after() -> Template:
    g = Template("reset_after")
    x, h = g.input("x", 3), g.variable("h", 4)
    h[0] = 0
    (Wz, Uz, bz), (Wr, Ur, br), (Wc, Uc, bc) = matrices(g, "zrc", 4, 4, 3)
    z, r = ops.sigmoid(Wz @ h[t - 1] + Uz @ x[t] + bz), ops.sigmoid(Wr @ h[t - 1] + Ur @ x[t] + br)
    h[t] = (1 - z) * h[t - 1] + z * ops.tanh(r * (Wc @ h[t - 1]) + Uc @ x[t] + bc)
    g.loss = ops.sum(ops.logsumexp(h[t]), over=t)
    return g


@cell
def gru_concat() -> Template:
    g = Template("gru_concat")
    x, h = g.input("x", 3), g.variable("h", 4)
    h[0] = 0
    (Wz, bz), (Wr, br), (Wc, bc) = matrices(g, "zrc", 4, 7)
    joined = ops.concat([h[t - 1], x[t]])
    z, r = ops.sigmoid(Wz @ joined + bz), ops.sigmoid(Wr @ joined + br)
    h[t] = (1 - z) * h[t - 1] + z * ops.tanh(Wc @ ops.concat([r * h[t - 1], x[t]]) + bc)
    g.loss = ops.sum(ops.logsumexp(h[t]), over=t)
    return g


@cell
def bidirectional() -> Template:
    g = Template("both_ways")
    x, y = g.input("x", 3), g.input("y", dtype="int")
    h, c, r, q = (g.variable(n, 4) for n in "hcrq")
    h[0], c[0], r[T + 1], q[T + 1] = 0, 0, 0, 0
    gates = matrices(g, "fiozFIOZ", 4, 4, 3)
    lstm_layer(g, x[t], 4, gates[:4], h, c)
    lstm_layer(g, x[t], 4, gates[4:], r, q, back=1)
    V = g.param("V", (5, 8))
    g.loss = ops.sum(ops.cross_entropy(V @ ops.concat([h[t], r[t]]), y[t]), over=t)
    return g


@cell
def two_layers() -> Template:
    g = Template("two_layers")
    layer = g.input("x", 3)[t]
    gates = matrices(g, "fioz", 4, 4, 3), matrices(g, "FIOZ", 5, 5, 4)
    for k, of in enumerate(gates):
        h, c = g.variable(f"h{k}", 4 + k), g.variable(f"c{k}", 4 + k)
        h[0], c[0] = 0, 0
        lstm_layer(g, layer, 4 + k, of, h, c)
        layer = h[t]
    g.loss = ops.sum(ops.sum(layer * layer), over=t)
    return g


@cell
def attention_decoder() -> Template:
    g = Template("decoder")
    x, y = g.input("x", 2, over=s), g.input("y", 3)
    Q, K, v = g.param("Q", (4, 3)), g.param("K", (4, 2)), g.param("v", 4)
    d, c, ctx = g.variable("d", 3), g.variable("c", 3), g.variable("ctx", 2)
    d[0], c[0] = g.param("d0", 3), 0
    alpha = ops.softmax(v @ ops.tanh(Q @ d[t - 1] + K @ x[s]), over=s)
    ctx[t] = ops.sum(alpha * x[s], over=s)
    joined = ops.concat([d[t - 1], ctx[t], y[t]])
    f, i, o, z = (W @ joined + b for W, b in matrices(g, "fioz", 3, 8))
    c[t] = ops.sigmoid(f) * c[t - 1] + ops.sigmoid(i) * ops.tanh(z)
    d[t] = ops.sigmoid(o) * ops.tanh(c[t])
    g.loss = ops.sum(ops.sum(d[t] ** 2), over=t)
    return g


@cell
def joined_within_a_step() -> Template:
    g = Template("within")
    x, h, W = g.input("x", 3), g.variable("h", 3), g.param("W", (3, 9))
    h[0] = 0.5
    inner = ops.concat([ops.sin(h[t - 1]), h[t - 1] * x[t]])
    h[t] = ops.tanh(W @ ops.concat([inner, ops.cos(h[t - 1])]))  # a part that has parts itself
    g.loss = ops.sum(ops.sum(h[t]), over=t)
    return g


@cell
def products_into_parts() -> Template:
    g = Template("parts")
    A, x, w, R = g.input("A", (3, 2)), g.input("x", 2), g.param("w", 2), g.param("R", (2, 5))
    h = g.variable("h", 2)
    h[0] = 1
    h[t] = ops.tanh(R @ ops.concat([A[t] @ (w * w), ops.sin(x[t])]) + h[t - 1])
    k = g.variable("k", 2)
    k[0] = 1
    k[t] = ops.tanh(R @ ops.concat([A[t] @ (k[t - 1] * w), k[t - 1]]))
    g.loss = ops.sum(ops.sum(h[t] * k[t]), over=t)
    return g


@cell
def grid_of_gates() -> Template:
    g = Template("grid")
    x, h = g.input("x", 2, over=(t, s)), g.variable("h", 3)
    h[0, s], h[t, 0] = 0, 0.5
    a, b = ((V @ h[t - 1, s] + W @ h[t, s - 1] + U @ x[t, s]) for V, W, U in triples(g))
    h[t, s] = ops.sigmoid(a) * ops.tanh(b)
    g.loss = ops.sum(ops.sum(h[t, s] ** 2), over=(t, s)) + ops.sum(ops.sum(h[t, S]), over=t)
    return g


def triples(g: Template) -> list[Any]:
    """Two gates of a grid cell."""
    return [tuple(g.param(f"{n}{k}", (3, 2 if n == "U" else 3)) for n in "VWU") for k in "ab"]


@cell
def one_depends_on_the_other() -> Template:
    g = Template("deep")  # products and outer products of one vector, each computed from the one before
    x, p = g.input("x", 3), g.variable("p", 3)
    A, W = g.param("A", (3, 3)), g.param("W", (3, 3))
    p[0] = 1
    p[t] = ops.tanh(A @ p[t - 1])  # the same for every example, and so are the sums
    first = ops.sum(ops.outer(ops.tanh(W @ p[t]), p[t]), over=t)
    second = ops.sum(ops.outer(ops.tanh(first @ p[t]), p[t]), over=t)
    g.loss = ops.sum(ops.sum((second @ p[t]) * x[t]), over=t)
    return g


@cell
def read_a_step_later() -> Template:
    g = Template("later")  # the last cotangents of a and b are written by nobody
    x, h, a, b = g.input("x", 3), g.variable("h", 3), g.variable("a", 3), g.variable("b", 3)
    h[0], a[0], b[0] = 1, 0, 0.5
    a[t], b[t] = g.param("W", (3, 3)) @ h[t - 1], g.param("V", (3, 3)) @ h[t - 1]
    h[t] = ops.tanh(a[t - 1]) * ops.sin(b[t - 1]) + x[t]
    g.loss = ops.sum(ops.sum(h[t]), over=t)
    return g


@cell
def matrix_as_state() -> Template:
    g = Template("state")  # a product whose rows are batch and elements at once, written into a part
    M, w, R = g.variable("M", (3, 2)), g.param("w", 2), g.param("R", (3, 5))
    M[0] = g.input("M0", (3, 2), over=None)
    joined = ops.concat([M[t - 1] @ w, ops.cos(M[t - 1][0])])
    M[t] = ops.tanh(ops.outer(R @ joined, w))
    g.loss = ops.sum(ops.sum(M[t]), over=t)
    return g


def specimen(g: Template, steps: int) -> Specimen:
    """A template with random params and arrays."""
    rng = np.random.default_rng(steps)
    return Specimen(g, params_for(g, rng), arrays_for(g, lengths_for(g, steps), 3, rng))


def results(g: Template) -> dict[str, Any]:
    """Every variable, the loss and all gradients at every length, of one net; and all that once more."""
    net = g.compile("numpy", dtype="float64")
    found: dict[str, Any] = {}
    for steps in LENGTHS:
        it = specimen(g, steps)
        for again in ("", ", again"):
            loss, grads = net.value_and_grad(it.params, it.floats, **it.arrays)
            _, alone = net.value_and_grad(it.params, **it.arrays)
            values = net.run(it.params, it.variables, **it.arrays)
            for kind, named in (("gradient", grads), ("params alone", alone), ("value", values)):
                found.update({f"{kind} of {n} at {steps}{again}": v for n, v in named.items()})
            found[f"loss at {steps}{again}"] = loss
            poison(net)
    assert executables(net)
    return found


@pytest.fixture
def unmerged(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Leaves the pass out from the call on."""
    rest = tuple(p for p in pipeline.PASSES if p[0] != "merge")
    return lambda: monkeypatch.setattr(pipeline, "PASSES", rest)


@pytest.mark.parametrize("name", [*CELLS, *(f"zoo {n}" for n in ZOO)])
def test_nothing_but_rounding_changes(name: str, unmerged: Callable[[], None]) -> None:
    make = ZOO[name[4:]] if name.startswith("zoo ") else CELLS[name]
    got = results(make())
    unmerged()
    same(got, results(make()), EXACT, "merged")


def program(name: str, grad: bool = True) -> Program:
    """The program of a cell."""
    g = CELLS[name]()
    return g.compile("numpy").program([n for n, d in g.system.decls.items() if d.kind == "variable"], grad=grad)


def products(program: Program) -> tuple[int, int, int]:
    """How many products stand in forward loops, in reverse loops, and outside."""
    count = [0, 0, 0]
    around: list[int] = []
    for depth, step in walk(program.steps):
        del around[depth:]
        if isinstance(step, Repeat):
            around.append(0 if step.direction > 0 else 1)
        elif isinstance(step, Compute) and step.equation.op in PRODUCTS:
            count[around[0] if around else 2] += 1
    return count[0], count[1], count[2]


COUNTS = {
    "lstm": (1, 1, 3),
    "lstm_concat": (1, 1, 2),
    "lstm_packed": (1, 1, 2),
    "lstm_rows": (1, 1, 3),
    "gru": (2, 2, 4),
    "gru_reset_after": (1, 1, 3),
    "gru_concat": (2, 2, 3),
    "bidirectional": (2, 2, 7),
    "two_layers": (2, 2, 7),
    "grid_of_gates": (2, 2, 4),
}


@pytest.mark.parametrize("name", COUNTS)
def test_products_are_few(name: str) -> None:
    assert products(program(name)) == COUNTS[name]


def test_forward_alone() -> None:
    assert products(program("lstm", grad=False)) == (1, 0, 1)
    assert products(program("lstm_concat", grad=False)) == (1, 0, 1)


def computed(program: Program) -> list[Compute]:
    """All statements."""
    return [step for _, step in walk(program.steps) if isinstance(step, Compute)]


@pytest.mark.parametrize("name", ["lstm", "lstm_packed", "gru", "gru_concat", "joined_within_a_step"])
def test_parts_are_written_where_they_are_joined(name: str) -> None:
    made = program(name)
    assert made.joined
    for host, parts in made.joined.items():
        sizes = [made.system.decls[n].shape[0] for n in parts]
        assert sum(sizes) >= made.system.decls[host].shape[0]
        for n in parts:
            assert made.buffers[n].axes == made.buffers[host].axes
        assert not any(step.equation.out.name == host for step in computed(made))
        assert f"{host} = {', '.join(parts)} side by side" in str(made)
    inside = [step for step in made.steps if isinstance(step, Repeat)]
    for loop in inside:
        operations = {step.equation.op for _, step in walk(loop.body) if isinstance(step, Compute)}
        assert not operations & {"concat", "unslice"}


def test_within_a_step_one_slot_is_enough() -> None:
    made = program("joined_within_a_step", grad=False)
    (host,) = made.joined
    assert made.joined[host]
    assert made.buffers[host].axes == ()


def test_one_concatenation_serves_all_that_read_the_gates() -> None:
    made = program("lstm")
    readers = [step.equation for step in computed(made) if "c~.d" in {r.name for r in step.equation.refs}]
    assert sorted(e.op for e in readers) == ["copy", "matmul", "outer", "outer"]
    stacks = [step.equation for step in computed(made) if step.equation.op == "concat"]
    shapes = sorted(made.system.decls[e.out.name].shape for e in stacks)
    assert shapes == [(16,), (16, 3), (16, 4)], "the biases, the recurrent matrices for both directions, the others"


def test_a_pass_may_be_left_out() -> None:
    net = lstm().compile("numpy")
    net.loss(net.init(0), x=np.ones((2, 3), "float32"))
    system = executables(net)[0].system
    seen: list[str] = []
    left = compile_system(system, lambda name, _: seen.append(name), without=("merge",))
    assert seen == [name for name, _ in pipeline.PASSES if name != "merge"]
    assert (products(left)[0], products(compile_system(system))[0]) == (4, 1)


def test_merged_twice_the_same() -> None:
    assert str(program("two_layers")) == str(program("two_layers"))


def test_infinity_is_named_as_the_user_wrote_it() -> None:
    g = lstm()
    net = g.compile("numpy", debug_nans=True)
    params = net.init(0)
    params["Uo"] = np.full_like(params["Uo"], 3e38)
    with pytest.raises(NonFiniteError, match=r"an infinity in h\[1\]"):
        net.loss(params, x=np.ones((2, 3), "float32"))

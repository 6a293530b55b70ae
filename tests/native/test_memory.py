"""Memory: what a run takes is what was predicted, and a run that cannot fit is refused before it allocates."""

from __future__ import annotations

import tracemalloc
from threading import Thread
from typing import Any

import numpy as np
import pytest

from unroll import T, Template, ops, t
from unroll.backends.common import memory_budget
from unroll.errors import LabelError, MemoryLimitError

pytest.importorskip("llvmlite")

INPUTS, HIDDEN = 5, 8


def lstm() -> Template:
    g = Template("lstm")
    x, h, c = g.input("x", INPUTS), g.variable("h", HIDDEN), g.variable("c", HIDDEN)
    h[0], c[0] = 0, 0
    i, f, o, z = (
        g.param(f"W{k}", (HIDDEN, HIDDEN)) @ h[t - 1] + g.param(f"U{k}", (HIDDEN, INPUTS)) @ x[t] for k in "ifoz"
    )
    c[t] = ops.sigmoid(f) * c[t - 1] + ops.sigmoid(i) * ops.tanh(z)
    h[t] = ops.sigmoid(o) * ops.tanh(c[t])
    g.loss = ops.sum(ops.sum(h[t] ** 2), over=t)
    return g


def test_the_peak_is_as_predicted() -> None:
    net = lstm().compile("native")
    params = net.init()
    steps, batch = 400, 200
    x = np.ones((steps, batch, INPUTS), np.float32)
    net.value_and_grad(params, x=x[:1])
    predicted = net.explain(T=steps, batch=batch).memory
    tracemalloc.start()
    net.value_and_grad(params, x=x)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert predicted is not None
    assert abs(peak - predicted) <= 0.1 * peak, f"predicted {predicted}, measured {peak}"


@pytest.mark.parametrize("backend", ["numpy", "native"])
def test_a_run_that_does_not_fit_is_refused(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    net = lstm().compile(backend)
    params = net.init()
    net.value_and_grad(params, x=np.ones((1, 1, INPUTS), np.float32))
    monkeypatch.setattr(memory_budget, "available", lambda: 2**20)
    monkeypatch.setattr(memory_budget, "SMALL", 0)
    x = np.ones((500, 300, INPUTS), np.float32)
    tracemalloc.start()
    with pytest.raises(MemoryLimitError, match=r"T = 500 this run needs .* MiB, and 1.0 MiB of memory is available"):
        net.value_and_grad(params, x=x)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**20
    value, _ = net.value_and_grad(params, x=x[:2, :2])  # and a smaller one still runs
    assert np.isfinite(value)


def test_a_computed_label_out_of_range_reads_no_foreign_memory() -> None:
    g = Template("labels")
    x, E = g.input("x", 5), g.param("E", (3, 2))
    g.output("y", E[ops.argmax(x[t])])
    net, rows = g.compile("native"), np.arange(6, dtype=np.float32).reshape(3, 2)
    with pytest.raises(LabelError, match=r"the label argmax\(x\[t\]\) is 3 at t = 4, and labels run from 0 to 2"):
        net.run({"E": rows}, "y", x=np.eye(5, dtype=np.float32))
    np.testing.assert_array_equal(net.run({"E": rows}, "y", x=np.eye(5, dtype=np.float32)[:3]), rows)


@pytest.mark.slow
def test_a_buffer_of_more_elements_than_32_bits_count() -> None:
    steps, batch, width = 2**15 + 1, 2**8, 2**8
    left = memory_budget.available()
    if left is None or left < 1.25 * 4 * steps * batch * width:
        pytest.skip(f"needs 10 GiB of memory, and {left} bytes can be had")
    g = Template("wide")
    v, h = g.input("v", width, over=None), g.variable("h", width)
    h[0] = 0
    h[t] = v - h[t - 1]  # v at odd steps, 0 at even ones
    g.output("last", h[T])
    g.output("most", ops.max(h[t], over=t))
    g.output("total", ops.sum(h[t], over=t))
    value = (np.arange(batch * width) % 1000).reshape(batch, width).astype(np.float32)
    for backend in ("native", "numpy"):  # one after the other: both together would need twice as much
        found = g.compile(backend).run({}, v=value, T=steps)
        np.testing.assert_array_equal(found["last"], value)
        np.testing.assert_array_equal(found["most"], value)
        np.testing.assert_array_equal(found["total"], value * (steps // 2 + 1))


def test_results_are_arrays_of_their_own() -> None:
    """Of one number too, which a view into the arena must not be mistaken for."""
    g = Template("leak")
    x, a, h = g.input("x"), g.param("a"), g.variable("h", ())
    h[0] = 0
    h[t] = a * h[t - 1] + x[t]
    g.output("last", h[T])
    g.loss = ops.sum(h[t], over=t)
    net = g.compile("native")
    x1, x2 = np.arange(3.0, dtype=np.float32), np.ones(3, np.float32)
    for call in (lambda a, x: net.value_and_grad({"a": a}, x=x)[1], lambda a, x: net.run({"a": a}, x=x)):
        first = call(np.float32(0.5), x1)
        kept = {name: np.array(value) for name, value in first.items()}
        second = call(np.float32(0.25), x2)
        assert first == kept
        assert first != second


class Space:
    """A workspace of so many bytes."""

    def __init__(self, name: str, size: int, made: list[str]) -> None:
        self.name, self.bytes = name, size
        made.append(name)


def used(idle: memory_budget.Idle, made: list[str], *names: str, size: int = 40) -> None:
    for name in names:
        shape = (ord(name),)
        space = idle.take(shape, lambda: Space(name, size, made))  # noqa: B023
        assert space.name == name
        idle.keep(shape, space)


def test_the_shape_used_longest_ago_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_budget, "SMALL", 100)
    made: list[str] = []
    idle = memory_budget.Idle(lambda: 0)  # so 100 bytes are all there may be
    used(idle, made, *"t" * 50, "a", *"t" * 50, "b", "t")
    assert made == ["t", "a", "b"], "the one used last was kept"
    used(idle, made, "b", "t", "a", "t", "b")
    assert made == ["t", "a", "b", "a", "b"]
    assert idle.bytes == 80
    used(idle, made, "z", size=500)
    assert [w.name for ws in idle.values() for w in ws] == ["z"], "the last one is kept whatever it takes"
    used(idle, made, "z", "z")
    assert made.count("z") == 1
    used(idle, made, "t")
    assert idle.bytes == 40
    idle.clear()
    assert (idle.bytes, len(idle)) == (0, 0)
    used(idle, made, "t")
    assert idle.bytes == 40


def test_as_many_shapes_are_kept_as_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_budget, "SMALL", 0)
    made: list[str] = []
    idle = memory_budget.Idle(lambda: 8 * 400 - idle.bytes)
    for _ in range(3):
        used(idle, made, *"abcdefghij")  # 10 times 40 bytes: an eighth of all there is
    assert made == list("abcdefghij")
    used(idle, made, *"kl")
    assert idle.bytes <= 400
    used(idle, made, *"cdefghijkl")
    assert made == list("abcdefghijkl")
    several = [idle.take((1,), lambda: Space("m", 40, made)) for _ in range(3)]  # three threads at once
    for space in several:
        idle.keep((1,), space)
    assert len({id(idle.take((1,), lambda: Space("n", 40, made))) for _ in range(3)}) == 3
    assert "n" not in made


@pytest.mark.parametrize("backend", ["numpy", "native"])
def test_bucketed_batches_take_their_memory_again(backend: str) -> None:
    net = lstm().compile(backend)
    params = net.init()
    data = [np.ones((steps, 2, INPUTS), np.float32) for steps in (3, 5, 7, 9)]
    for x in data:
        net.value_and_grad(params, x=x)
    (executable,) = (built.executable for built in net._programs.compiled.values())
    before = [w for ws in executable._idle.values() for w in ws]  # type: ignore[attr-defined]
    for x in data * 2:
        net.value_and_grad(params, x=x)
    after = [w for ws in executable._idle.values() for w in ws]  # type: ignore[attr-defined]
    assert len(before) == 4
    assert {id(w) for w in before} == {id(w) for w in after}
    assert executable._idle.bytes == sum(w.bytes for w in after) > 0  # type: ignore[attr-defined]


@pytest.mark.parametrize("backend", ["numpy", "native"])
def test_idle_memory_makes_room_for_a_run(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What other nets keep for later is no reason to refuse a run."""
    monkeypatch.setattr(memory_budget, "SMALL", 0)
    first, second = lstm().compile(backend), lstm().compile(backend)
    params, x = first.init(), np.ones((4, 2, INPUTS), np.float32)
    first.value_and_grad(params, x=x)
    (kept,) = (built.executable._idle for built in first._programs.compiled.values())  # type: ignore[attr-defined]
    assert kept.bytes > 0
    monkeypatch.setattr(memory_budget, "available", lambda: 2**30 if not kept.bytes else 0)
    value, _ = second.value_and_grad(params, x=x)
    assert kept.bytes == 0
    assert np.isfinite(value)


def test_threads_share_idle_memory() -> None:
    net = lstm().compile("native")
    params, x = net.init(), np.ones((5, 2, INPUTS), np.float32)
    want = net.loss(params, x=x)
    wrong: list[Any] = []

    def work(number: int) -> None:
        for n in range(60):
            steps = 1 + (number + n) % 5
            if steps == 5 and net.loss(params, x=x) != want:
                wrong.append(number)
            net.loss(params, x=x[:steps])

    threads = [Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    for built in net._programs.compiled.values():
        idle = built.executable._idle  # type: ignore[attr-defined]
        assert idle.bytes == sum(w.bytes for ws in idle.values() for w in ws)


def test_a_workspace_of_numpys_counts_its_views_too() -> None:
    """A small network's numbers take less than the views of them, one for each step."""
    net = lstm().compile("numpy")
    params = net.init(seed=0)
    net.value_and_grad(params, x=np.ones((50, 1, INPUTS), np.float32))
    [made] = net._programs.compiled.values()
    kept = made.executable._idle
    tracemalloc.start()
    try:
        before, counted = tracemalloc.get_traced_memory()[0], kept.bytes
        for steps in range(300, 320):
            net.value_and_grad(params, x=np.ones((steps, 1, INPUTS), np.float32))
        taken = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert taken == pytest.approx(kept.bytes - counted, rel=0.3)

"""Functions that are written from operations, each with what PyTorch computes, and operands to compare them on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from unroll import Template, ops, t


def drawn(shape: tuple[int, ...], low: float = -2.0, high: float = 2.0) -> Callable[[np.random.Generator], np.ndarray]:
    """Numbers between two bounds."""
    return lambda rng: rng.uniform(low, high, shape)


def fixed(*values: Any) -> Callable[[np.random.Generator], np.ndarray]:
    """These numbers."""
    return lambda rng: np.array(values)


def definite(n: int) -> Callable[[np.random.Generator], np.ndarray]:
    """A symmetric positive definite matrix."""

    def draw(rng: np.random.Generator) -> np.ndarray:
        a = rng.standard_normal((n, n))
        return a @ a.T + np.eye(n)

    return draw


x, y = drawn((4,)), drawn((4,))
SPREAD = fixed(-1000.0, -40.0, -1.0, -0.0, 0.3, 40.0, 1000.0)
COMPOSITES: dict[str, tuple[Callable[..., Any], Callable[..., Any], tuple[Any, ...]]] = {
    # name: ours, PyTorch's as a function of torch and tensors, operands
    "ceil": (ops.ceil, lambda torch, a: torch.ceil(a), (x,)),
    "round": (ops.round, lambda torch, a: torch.round(a), (fixed(-1.5, -0.5, 0.5, 1.5, 2.5, 0.7),)),
    "round-decimals": (lambda a: round(a, 1), lambda torch, a: torch.round(a, decimals=1), (x,)),
    "round-tens": (lambda a: round(a, -1), lambda torch, a: torch.round(a, decimals=-1), (drawn((4,), -99, 99),)),
    "divmod": (
        lambda a, b: divmod(a, b)[0] + divmod(a, b)[1],
        lambda torch, a, b: torch.floor(a / b).detach() + a % b,
        (x, y),
    ),
    "silu": (ops.silu, lambda torch, a: torch.nn.functional.silu(a), (SPREAD,)),
    "logsigmoid": (ops.logsigmoid, lambda torch, a: torch.nn.functional.logsigmoid(a), (SPREAD,)),
    "logaddexp": (ops.logaddexp, lambda torch, a, b: torch.logaddexp(a, b), (SPREAD, drawn((7,)))),
    "logaddexp-equal": (ops.logaddexp, lambda torch, a, b: torch.logaddexp(a, b), (fixed(0.5, -700.0),) * 2),
    "cumsum": (ops.cumsum, lambda torch, a: torch.cumsum(a, -1), (drawn((3, 7)),)),
    "cumsum-axis": (lambda a: ops.cumsum(a, 0), lambda torch, a: torch.cumsum(a, 0), (drawn((5, 2)),)),
    "cumprod": (ops.cumprod, lambda torch, a: torch.cumprod(a, -1), (drawn((3, 7)),)),
    "cumprod-zeros": (ops.cumprod, lambda torch, a: torch.cumprod(a, -1), (fixed(2.0, 0.0, 3.0, 0.0, 0.5),)),
    "cumprod-axis": (lambda a: ops.cumprod(a, -2), lambda torch, a: torch.cumprod(a, -2), (drawn((6, 2)),)),
    "prod": (ops.prod, lambda torch, a: torch.prod(a), (drawn((3, 5)),)),
    "prod-zero": (ops.prod, lambda torch, a: torch.prod(a), (fixed(2.0, 0.0, 3.0, -1.0, 0.5),)),
    "prod-zeros": (ops.prod, lambda torch, a: torch.prod(a), (fixed(2.0, 0.0, 3.0, 0.0),)),
    "prod-axis": (lambda a: ops.prod(a, 1), lambda torch, a: torch.prod(a, 1), (drawn((2, 3, 2)),)),
    "prod-kept": (lambda a: ops.prod(a, 0, keepdims=True), lambda torch, a: torch.prod(a, 0, True), (drawn((3, 2)),)),
    "var": (ops.var, lambda torch, a: torch.var(a, correction=0), (drawn((3, 4)),)),
    "var-unbiased": (lambda a: ops.var(a, 0, correction=1), lambda torch, a: torch.var(a, 0), (drawn((3, 4)),)),
    "std": (
        lambda a: ops.std(a, -1, keepdims=True),
        lambda torch, a: torch.std(a, -1, correction=0, keepdim=True),
        (drawn((3, 4)),),
    ),
    "std-constant": (ops.std, lambda torch, a: torch.std(a, correction=0), (fixed(0.5, 0.5, 0.5),)),
    "norm": (ops.norm, lambda torch, a: torch.linalg.norm(a), (drawn((3, 4)),)),
    "norm-axis": (lambda a: ops.norm(a, -1), lambda torch, a: torch.linalg.norm(a, dim=-1), (drawn((3, 4)),)),
    "norm-zero": (ops.norm, lambda torch, a: torch.linalg.norm(a), (fixed(0.0, 0.0),)),
    "normal": (
        ops.normal_log_prob,
        lambda torch, a, b, c: torch.distributions.Normal(b, c).log_prob(a),
        (x, y, drawn((1,), 0.3, 2)),
    ),
    "poisson": (
        ops.poisson_log_prob,
        lambda torch, a, b: torch.distributions.Poisson(torch.exp(b)).log_prob(a),
        (fixed(0.0, 1.0, 3.0, 40.0), y),
    ),
    "student": (
        ops.student_log_prob,
        lambda torch, a, b, c, d: torch.distributions.StudentT(b, c, d).log_prob(a),
        (x, fixed(0.7, 3.0, 20.0, 59.0), y, drawn((1,), 0.3, 2)),
    ),
    "sort": (ops.sort, lambda torch, a: torch.sort(a, stable=True).values, (drawn((2, 9)),)),
    "sort-axis": (lambda a: ops.sort(a, 0), lambda torch, a: torch.sort(a, 0).values, (drawn((5, 2)),)),
    "sort-descending": (
        lambda a: ops.sort(a, 1, descending=True),
        lambda torch, a: torch.sort(a, 1, descending=True).values,
        (drawn((2, 4, 3)),),
    ),
    "top_k": (lambda a: ops.top_k(a, 3), lambda torch, a: torch.topk(a, 3).values, (drawn((2, 7)),)),
    "top_k-axis": (lambda a: ops.top_k(a, 2, 0), lambda torch, a: torch.topk(a, 2, 0).values, (drawn((4, 3)),)),
    "cholesky": (ops.cholesky, lambda torch, a: torch.linalg.cholesky((a + a.T) / 2), (definite(4),)),
    "solve": (ops.solve, lambda torch, a, b: torch.linalg.solve(a, b), (drawn((5, 5)), drawn((5, 2)))),
    "solve-vector": (ops.solve, lambda torch, a, b: torch.linalg.solve(a, b), (drawn((3, 3)), drawn((3,)))),
    "solve-pivots": (
        lambda b: ops.solve(np.array([[0.0, 1.0], [2.0, 3.0]]), b),
        lambda torch, b: torch.linalg.solve(torch.tensor([[0.0, 1.0], [2.0, 3.0]], dtype=b.dtype), b),
        (drawn((2,)),),
    ),
    "solve_triangular": (
        lambda a, b: ops.solve_triangular(a, b, lower=True),
        lambda torch, a, b: torch.linalg.solve_triangular(torch.tril(a), b, upper=False),
        (definite(3), drawn((3, 2))),
    ),
    "whitened": (
        lambda a, b: ops.sum(ops.solve_triangular(ops.cholesky(a), b, lower=True) ** 2),
        lambda torch, a, b: (b * torch.linalg.solve((a + a.T) / 2, b)).sum(),
        (definite(3), drawn((3,))),
    ),
    "huber": (
        lambda a, b: ops.huber(a, b, delta=0.7),
        lambda torch, a, b: torch.nn.functional.huber_loss(a, b, delta=0.7),
        (x, y),
    ),
}  # fmt: skip


def all_of_them(rng: np.random.Generator) -> tuple[Template, dict[str, np.ndarray]]:
    """Every function as an output, and a loss of them all."""
    g, arrays = Template("composites"), {}
    total: Any = 0.0
    for number, (ours, _, draws) in enumerate(COMPOSITES.values()):
        args = []
        for n, draw in enumerate(draws):
            name = f"x{number}_{n}"
            arrays[name] = np.stack([[draw(rng) for _ in range(2)] for _ in range(2)])
            args.append(g.input(name, arrays[name].shape[2:])[t])
        value = ours(*args)
        g.output(f"y{number}", value)
        total = total + ops.sum(ops.sin(value) if value.dtype == "float" else ops.cast(value))
    g.loss = ops.sum(total, over=t)
    return g, arrays

"""Cells with several time scales: leaky units and the clockwork network (book section 10.9)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .. import ops
from ..errors import ShapeError, TemplateError, here, message
from ..ops.core import Symbolic
from ..ops.integers import integer
from .scope import Scope
from .simple import Activation, weighted


def leaky(
    scope: Scope, x: Symbolic, h: Symbolic, *, alpha: Any, activation: Activation = ops.tanh, norm: bool = False
) -> Any:
    """Leaky units: running averages of what the plain network computes (section 10.9.2; Mozer 1992).

    h[t] = alpha * h[t-1] + (1 - alpha) * tanh(b + W @ h[t-1] + U @ x[t])

    x (inputs,), h (units,) -> h (units,). Params W (units, units), U (units, inputs), b (units,).

    alpha       near 1 remembers long, 0 is `elman`: one number, an array with one for each unit, or an expression, with
                which the time constants are learnt: ``alpha=ops.sigmoid(g.param("a", units))``
    activation  in place of tanh
    norm        layer normalisation of the sum, with the gain s (units,) (Ba et al. 2016, equation 4)

    Raises TemplateError for a number outside 0..1.

    >>> from unroll import Template, cells, t
    >>> g = Template("leaky")
    >>> h = cells.layer(g, cells.leaky, g.input("x", 3)[t], 4, alpha=ops.sigmoid(g.param("a", 4)))
    >>> print(g)
    template leaky(...)
      h[0] = 0
      h[t] = sigmoid(a) * h[t-1] + (1 - sigmoid(a)) * tanh(b_h + W_h @ h[t-1] + U_h @ x[t])    t = 1..T
    """
    if isinstance(alpha, (int, float)) and not 0 <= alpha <= 1:
        raise TemplateError(
            message(f"a leaky unit keeps a share alpha of its state, from 0 to 1; got alpha={alpha}", here())
        )
    return alpha * h + (1 - alpha) * activation(weighted(scope, x, h, norm=norm))


def clockwork(
    scope: Scope, x: Symbolic, h: Symbolic, k: Symbolic, *, periods: Sequence[int], activation: Activation = ops.tanh
) -> tuple[Any, Any]:
    """The clockwork network: groups of units, each computed at multiples of its own period (Koutník et al. 2014).

    k[t] = k[t-1] + 1, or 0 where that is the unit's period
    h[t] = tanh(b + [W1 @ h[t-1], W2 @ h[t-1][n:], W3 @ h[t-1][2*n:], ...] + U @ x[t])  where k[t] = 0, else h[t-1]

    The idea is that of section 10.9.3. Of m groups with n = units/m units each, the first is the fastest; a group reads
    itself and the slower ones.

    x (inputs,), h and k (units,) -> h and k (units,). Params U (units, inputs), b (units,) and for group j from 1 to m
    Wj (n, (m-j+1) * n).

    The clock k is part of the state: a sequence that goes on in another call must know where it stands. It starts at
    0, so that the steps 1, 2, ... count; right to left they count from the right end.

    periods     of the groups, each longer than the one before; the paper takes powers of two
    activation  in place of tanh

    Raises TemplateError for periods that are not positive and increasing, ShapeError where the groups do not come out
    even.

    >>> from unroll import Template, cells, t
    >>> g = Template("clockwork")
    >>> h, k = cells.layer(g, cells.clockwork, g.input("x", 3)[t], 4, periods=[1, 2])
    >>> print(g)
    template clockwork(x[t]: input, 3; W1_h: param, 2 x 4; W2_h: param, 2 x 2; b_h: param, 4; U_h: param, 4 x 3)
    ...
      h[t] = where(k_h[t] == 0, tanh(b_h + concat(W1_h @ h[t-1], W2_h @ h[t-1][2:]) + U_h @ x[t]), h[t-1])    t = 1..T
    """
    units, groups = h.shape[0], len(periods)
    steps = [n for n in map(integer, periods) if n is not None]
    if not (groups == len(steps) > 0 and steps == sorted(set(steps)) and steps[0] >= 1):
        raise TemplateError(
            message(
                f"periods={list(periods)!r}: a clockwork network has one whole period for each group of units, from 1 "
                "up, each longer than the one before",
                here(),
                fix="Powers of two, for instance: periods=[1, 2, 4, 8].",
            )
        )
    if units % groups:
        raise ShapeError(
            message(f"{units} units do not divide into {groups} groups of equal size, one for each period", here())
        )
    n, fed = units // groups, scope.dropped(h)
    edges = range(0, units, n)
    clock = [k[a : a + n] + 1 for a in edges]
    k = scope.define("k", ops.concat([ops.where(c < p, c, 0) for c, p in zip(clock, steps, strict=True)]), exact=True)
    old = [
        scope.param(f"W{j}", (n, units - a), "orthogonal") @ (fed[a:] if a else fed)
        for j, a in enumerate(edges, start=1)
    ]
    total = scope.param("b", units) + ops.concat(old) + scope.param("U", (units, x.shape[0])) @ x
    return ops.where(ops.equal(k, 0), activation(total), h), k

"""Cells without gates: Elman's and Jordan's networks, independent units, the linear dynamical system."""

from __future__ import annotations

from collections.abc import Callable

from .. import ops
from ..ops.core import Symbolic
from ..runtime.initializers import uniform
from .scope import Scope

Activation = Callable[[Symbolic], Symbolic]


def weighted(
    scope: Scope, x: Symbolic, h: Symbolic, letter: str = "", *, norm: bool = False, bias: float = 0.0
) -> Symbolic:
    """The sum that a unit or a gate is a function of, and with ``norm=True`` the same normalised.

    b + W @ h + U @ x,  or  LN(W @ h + U @ x; s, b), where LN shifts and scales to mean 0 and variance 1 over the units
    of this one gate, then times the gain s, plus b (Ba et al. 2016, equation 4).

    x (inputs,), h (states,) -> (units,), as many units as `h` has where no `letter` says that it is a gate of them.
    """
    n = h.shape[0]
    W = scope.param(f"W{letter}", (n, n), "orthogonal")
    U = scope.param(f"U{letter}", (n, x.shape[0]))
    b = scope.param(f"b{letter}", n, bias)
    h = scope.dropped(h)
    if norm:
        return ops.layer_norm(W @ h + U @ x, scope.param(f"s{letter}", n, "ones"), b)
    return b + W @ h + U @ x


def elman(scope: Scope, x: Symbolic, h: Symbolic, *, activation: Activation = ops.tanh, norm: bool = False) -> Symbolic:
    """The recurrent network of the book, hidden-to-hidden (section 10.2, equations 10.8 and 10.9; Elman 1990).

    h[t] = tanh(b + W @ h[t-1] + U @ x[t])

    x (inputs,), h (units,) -> h (units,). Params W (units, units), U (units, inputs), b (units,).

    activation  in place of tanh; ops.relu for the network of Le et al. 2015
    norm        layer normalisation of the sum, with the gain s (units,) (Ba et al. 2016, equation 4)

    >>> from unroll import Template, cells, t
    >>> g = Template("elman")
    >>> h = cells.layer(g, cells.elman, g.input("x", 3)[t], 4, norm=True)
    >>> print(g)
    template elman(...)
      h[0] = 0
      h[t] = tanh(layer_norm(W_h @ h[t-1] + U_h @ x[t], s_h, b_h))    t = 1..T
    """
    return activation(weighted(scope, x, h, norm=norm))


def jordan(scope: Scope, x: Symbolic, o: Symbolic, *, hidden: int, activation: Activation = ops.tanh) -> Symbolic:
    """A network that recurs from its output to its hidden units alone (section 10.2, figure 10.4; Jordan 1986).

    h[t] = tanh(b + W @ o[t-1] + U @ x[t]);  o[t] = c + V @ h[t]

    x (inputs,), o (outputs,) -> o (outputs,); the hidden units are h of the layer, ``h_o``.
    Params W (hidden, outputs), U (hidden, inputs), b (hidden,), V (outputs, hidden), c (outputs,).

    hidden      the number of hidden units
    activation  in place of tanh

    >>> from unroll import Template, cells, t
    >>> g = Template("jordan")
    >>> o = cells.layer(g, cells.jordan, g.input("x", 3)[t], 5, hidden=4)
    >>> print(g)
    template jordan(...)
      o[0] = 0
      h_o[t] = tanh(b_o + W_o @ o[t-1] + U_o @ x[t])    t = 1..T
      o[t] = c_o + V_o @ h_o[t]                         t = 1..T
    """
    outputs = o.shape[0]
    W, U = scope.param("W", (hidden, outputs)), scope.param("U", (hidden, x.shape[0]))
    h = scope.define("h", activation(scope.param("b", hidden) + W @ scope.dropped(o) + U @ x))
    return scope.param("c", outputs) + scope.param("V", (outputs, hidden)) @ h


def indrnn(scope: Scope, x: Symbolic, h: Symbolic, *, activation: Activation = ops.relu) -> Symbolic:
    """Units that each remember only themselves: the recurrent matrix is a diagonal (Li et al. 2018).

    h[t] = relu(b + w * h[t-1] + U @ x[t])

    x (inputs,), h (units,) -> h (units,). Params w (units,), U (units, inputs), b (units,). Stacked, the next layer's U
    mixes the units. w starts uniform between 0 and 1: over many steps |w| > 1 explodes.

    activation  in place of relu

    >>> from unroll import Template, cells, t
    >>> g = Template("indrnn")
    >>> h = cells.layer(g, cells.indrnn, g.input("x", 3)[t], 4)
    >>> print(g)
    template indrnn(...)
      h[0] = 0
      h[t] = relu(b_h + w_h * h[t-1] + U_h @ x[t])    t = 1..T
    """
    n = h.shape[0]
    w, U = scope.param("w", n, uniform(0.0, 1.0)), scope.param("U", (n, x.shape[0]))
    return activation(scope.param("b", n) + w * h + U @ x)


def lds(scope: Scope, x: Symbolic, h: Symbolic) -> Symbolic:
    """The state of a linear dynamical system (Kalman 1960); without input it is the book's equation 10.36.

    h[t] = A @ h[t-1] + B @ x[t]

    x (inputs,), h (units,) -> h (units,). Params A (units, units) and B (units, inputs); A starts orthogonal, and so
    keeps the length of h. The observation is one more line, ``y[t] = C @ h[t] + D @ x[t]``.

    >>> from unroll import Template, cells, t
    >>> g = Template("lds")
    >>> h = cells.layer(g, cells.lds, g.input("x", 3)[t], 4)
    >>> print(g)
    template lds(...)
      h[0] = 0
      h[t] = A_h @ h[t-1] + B_h @ x[t]    t = 1..T
    """
    n = h.shape[0]
    made: Symbolic = scope.param("A", (n, n), "orthogonal") @ scope.dropped(h) + scope.param("B", (n, x.shape[0])) @ x
    return made

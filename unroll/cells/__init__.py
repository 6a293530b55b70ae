"""Recurrent cells and what is built from them: plain functions from expressions to expressions.

A cell is one step, written as in the book: ``cell(scope, x, *state) -> state``, or ``-> (output, state)`` where what it
puts out is no part of its state. It takes the input and the state one step back as expressions, and returns the state
now; what it must declare, params and gates, it asks of the scope. So a cell can stand inside equations of one's own,
where the delays are in sight::

    h[t], c[t] = cells.lstm(cells.Scope(g, "h"), x[t], h[t-1], c[t-1])

`layer` does just that with variables and boundaries of its own, along any axis in either direction, for any cell, those
that a user writes included; `stack` and `bidirectional` call `layer`. There is no class of cells, and no list of their
sizes and states to keep in step with the equations: shapes follow from the expressions, and the names of the state from
the function's own signature. A cell's options are keywords, which `layer` hands on.

>>> from unroll import T, Template, cells, t
>>> g = Template("elman")
>>> x = g.input("x", 3)
>>> h = cells.layer(g, cells.elman, x[t], 4)
>>> g.output("last", h[T])
>>> print(g)
template elman(x[t]: input, 3; W_h: param, 4 x 4; U_h: param, 4 x 3; b_h: param, 4)
  h[0] = 0
  h[t] = tanh(b_h + W_h @ h[t-1] + U_h @ x[t])    t = 1..T
  last = h[T]

Matrices start as `Template.param` has them (Glorot and Bengio 2010), those that multiply the state orthogonal (Saxe et
al. 2014), biases at 0, gains at 1; a cell that departs from this says so.
"""

from .gated import gru, lstm, mgu
from .layers import bidirectional, layer, stack
from .scope import Scope
from .simple import elman, indrnn, jordan, lds
from .timescales import clockwork, leaky

__all__ = [
    "Scope",
    "bidirectional",
    "clockwork",
    "elman",
    "gru",
    "indrnn",
    "jordan",
    "layer",
    "lds",
    "leaky",
    "lstm",
    "mgu",
    "stack",
]

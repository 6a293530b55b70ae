"""Cells with gates: LSTM, GRU and the minimal gated unit (book section 10.10)."""

from __future__ import annotations

from typing import Any

from .. import ops
from ..ops.core import Symbolic
from .scope import Scope
from .simple import weighted


def lstm(
    scope: Scope,
    x: Symbolic,
    h: Symbolic,
    c: Symbolic,
    *,
    peepholes: bool = False,
    coupled: bool = False,
    norm: bool = False,
) -> tuple[Any, Any]:
    """Long short-term memory with a forget gate (Hochreiter and Schmidhuber 1997, Gers et al. 2000; book 10.40-44).

    f[t] = sigmoid(bf + Wf @ h[t-1] + Uf @ x[t])
    i[t] = sigmoid(bi + Wi @ h[t-1] + Ui @ x[t])
    g[t] = tanh(bg + Wg @ h[t-1] + Ug @ x[t])
    o[t] = sigmoid(bo + Wo @ h[t-1] + Uo @ x[t])
    c[t] = f[t] * c[t-1] + i[t] * g[t]
    h[t] = o[t] * tanh(c[t])

    x (inputs,), h and c (units,) -> h and c (units,). For each gate k in f, i, g, o the params Wk (units, units),
    Uk (units, inputs), bk (units,). In the book s, g and q stand for c, i and o, and the new value (our g, which is
    tanh as in most of the literature) is a sigmoid. bf starts at 1, so that an untrained cell remembers (Gers et al.
    2000; Jozefowicz et al. 2015).

    peepholes  the gates see the cell state: + pf * c[t-1] in f, + pi * c[t-1] in i, + po * c[t] in o, with pf, pi, po
               (units,) starting at 0 (Gers and Schmidhuber 2000)
    coupled    f[t] = 1 - i[t], and no Wf, Uf, bf, pf; bi starts at -1 in their place (Greff et al. 2017, CIFG)
    norm       layer normalisation of each gate's sum, LN(Wk @ h[t-1] + Uk @ x[t]; sk, bk), before peepholes are added,
               and of the cell state on its way out, o[t] * tanh(LN(c[t]; sc, bc)); gains sk, sc and bias bc (units,).
               Ba et al. 2016 normalise the two products apart and all gates together; this is their equation 4 for
               each gate.

    >>> from unroll import Template, cells, t
    >>> g = Template("lstm")
    >>> h, c = cells.layer(g, cells.lstm, g.input("x", 3)[t], 4)
    >>> print(g)
    template lstm(...)
      h[0] = 0
      c_h[0] = 0
      f_h[t] = sigmoid(bf_h + Wf_h @ h[t-1] + Uf_h @ x[t])    t = 1..T
      i_h[t] = sigmoid(bi_h + Wi_h @ h[t-1] + Ui_h @ x[t])    t = 1..T
      g_h[t] = tanh(bg_h + Wg_h @ h[t-1] + Ug_h @ x[t])       t = 1..T
      c_h[t] = f_h[t] * c_h[t-1] + i_h[t] * g_h[t]            t = 1..T
      o_h[t] = sigmoid(bo_h + Wo_h @ h[t-1] + Uo_h @ x[t])    t = 1..T
      h[t] = o_h[t] * tanh(c_h[t])                            t = 1..T
    """
    n = h.shape[0]

    def gate(letter: str, seen: Symbolic, bias: float = 0.0) -> Symbolic:
        total = weighted(scope, x, h, letter, norm=norm, bias=bias)
        if peepholes:
            total = total + scope.param(f"p{letter}", n) * seen
        return scope.define(letter, ops.sigmoid(total))

    if coupled:
        i = gate("i", c, bias=-1.0)
        f = scope.define("f", 1 - i)
    else:
        f = gate("f", c, bias=1.0)
        i = gate("i", c)
    g = scope.define("g", ops.tanh(weighted(scope, x, h, "g", norm=norm)))
    c = scope.define("c", f * c + i * g)
    o = gate("o", c)
    shown = ops.layer_norm(c, scope.param("sc", n, "ones"), scope.param("bc", n)) if norm else c
    return o * ops.tanh(shown), c


def gru(scope: Scope, x: Symbolic, h: Symbolic, *, reset_after: bool = False, norm: bool = False) -> Any:
    """The gated recurrent unit (Cho et al. 2014; book 10.45-47).

    r[t] = sigmoid(br + Wr @ h[t-1] + Ur @ x[t])
    z[t] = sigmoid(bz + Wz @ h[t-1] + Uz @ x[t])
    n[t] = tanh(bn + Wn @ (r[t] * h[t-1]) + Un @ x[t])
    h[t] = z[t] * h[t-1] + (1 - z[t]) * n[t]

    z = 1 keeps the old state, as in Cho et al. 2014, in PyTorch and in the book, where it is called u; in Chung et al.
    2014 z is what is 1 - z here. In the book the new value is a sigmoid too, and the input is read one step earlier:
    give it x[t-1].

    x (inputs,), h (units,) -> h (units,). For each k in r, z, n the params Wk (units, units), Uk (units, inputs),
    bk (units,).

    reset_after  reset after the product, n[t] = tanh(bn + r[t] * (cn + Wn @ h[t-1]) + Un @ x[t]), with one more bias
                 cn (units,): the form of PyTorch and cuDNN, and of Keras by default
    norm         layer normalisation of each sum, with gains sk (units,); with the reset after the product its two
                 parts are normalised apart, tanh(LN(Un @ x[t]; sn, bn) + r[t] * LN(Wn @ h[t-1]; tn, cn)) (Ba et al.
                 2016, equation 4 and for the second form their supplement)

    >>> from unroll import Template, cells, t
    >>> g = Template("gru")
    >>> h = cells.layer(g, cells.gru, g.input("x", 3)[t], 4)
    >>> print(g)
    template gru(...)
      h[0] = 0
      r_h[t] = sigmoid(br_h + Wr_h @ h[t-1] + Ur_h @ x[t])          t = 1..T
      z_h[t] = sigmoid(bz_h + Wz_h @ h[t-1] + Uz_h @ x[t])          t = 1..T
      n_h[t] = tanh(bn_h + Wn_h @ (r_h[t] * h[t-1]) + Un_h @ x[t])    t = 1..T
      h[t] = z_h[t] * h[t-1] + (1 - z_h[t]) * n_h[t]                t = 1..T
    """
    r = scope.define("r", ops.sigmoid(weighted(scope, x, h, "r", norm=norm)))
    z = scope.define("z", ops.sigmoid(weighted(scope, x, h, "z", norm=norm)))
    if reset_after:
        n = h.shape[0]
        old = scope.param("Wn", (n, n), "orthogonal") @ scope.dropped(h)
        new = scope.param("Un", (n, x.shape[0])) @ x
        b, c = scope.param("bn", n), scope.param("cn", n)
        if norm:
            old = ops.layer_norm(old, scope.param("tn", n, "ones"), c)
            total = ops.layer_norm(new, scope.param("sn", n, "ones"), b) + r * old
        else:
            total = b + r * (c + old) + new
    else:
        total = weighted(scope, x, r * h, "n", norm=norm)
    return z * h + (1 - z) * scope.define("n", ops.tanh(total))


def mgu(scope: Scope, x: Symbolic, h: Symbolic, *, norm: bool = False) -> Any:
    """The minimal gated unit: one gate for what the GRU does with two (Zhou et al. 2016).

    f[t] = sigmoid(bf + Wf @ h[t-1] + Uf @ x[t])
    n[t] = tanh(bn + Wn @ (f[t] * h[t-1]) + Un @ x[t])
    h[t] = (1 - f[t]) * h[t-1] + f[t] * n[t]

    Despite its name f = 1 takes the new value. x (inputs,), h (units,) -> h (units,). For each k in f, n the params
    Wk (units, units), Uk (units, inputs), bk (units,).

    norm  layer normalisation of each sum, with gains sk (units,) (Ba et al. 2016, equation 4)

    >>> from unroll import Template, cells, t
    >>> g = Template("mgu")
    >>> h = cells.layer(g, cells.mgu, g.input("x", 3)[t], 4)
    >>> print(g)
    template mgu(...)
      h[0] = 0
      f_h[t] = sigmoid(bf_h + Wf_h @ h[t-1] + Uf_h @ x[t])            t = 1..T
      n_h[t] = tanh(bn_h + Wn_h @ (f_h[t] * h[t-1]) + Un_h @ x[t])    t = 1..T
      h[t] = (1 - f_h[t]) * h[t-1] + f_h[t] * n_h[t]                  t = 1..T
    """
    f = scope.define("f", ops.sigmoid(weighted(scope, x, h, "f", norm=norm)))
    n = scope.define("n", ops.tanh(weighted(scope, x, f * h, "n", norm=norm)))
    return (1 - f) * h + f * n

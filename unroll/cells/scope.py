"""`Scope`: what a cell asks of the template that it stands in, params and named values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..ir.axes import Axis, running
from ..language.variable import Variable
from ..ops.core import Symbolic
from ..runtime.initializers import Initializer
from ..template import Template


class Scope:
    """What a cell declares on a template: params and named values, ``W`` of the layer ``h`` being called ``W_h``.

    >>> from unroll import Template, cells, t
    >>> g = Template("own")
    >>> x, h = g.input("x", 3), g.variable("h", 4)
    >>> h[0] = 0
    >>> h[t] = 0.5 * h[t-1] + cells.elman(cells.Scope(g, "e"), x[t], h[t-1])
    >>> print(g)
    template own(x[t]: input, 3; W_e: param, 4 x 4; U_e: param, 4 x 3; b_e: param, 4)
      h[0] = 0
      h[t] = 0.5 * h[t-1] + tanh(b_e + W_e @ h[t-1] + U_e @ x[t])    t = 1..T
    """

    def __init__(
        self,
        g: Template,
        name: str,
        states: Mapping[str, Variable] | None = None,
        zoneout: bool = False,
        mask: Symbolic | None = None,
    ) -> None:
        self.template = g
        self.name = name
        self._states = states or {}
        self._zoneout = zoneout  # of the state, which the layer then defines, from what the cell makes of it
        self._mask, self._masked = mask, False

    def param(self, letter: str, shape: int | Sequence[int], init: str | float | Initializer | None = None) -> Symbolic:
        """A trainable array, as `Template.param` declares it."""
        return self.template.param(f"{letter}_{self.name}", shape, init)

    def dropped(self, value: Any) -> Any:
        """What is made of the output that is fed back, as a matrix of the recurrence takes it: with recurrent dropout.

        The state itself, which a cell may carry on, is not dropped: what is scaled at every step grows without bound.
        """
        self._masked = True
        return value if self._mask is None else value * self._mask

    def define(self, letter: str, value: Symbolic | float, *, exact: bool = False) -> Symbolic:
        """Give a value a name and an equation of its own; returns the value by that name.

        The letter of a state stands for the layer's own variable; `exact` has it as it is, whatever the zoneout.
        """
        value = self.template._builder.operand(value)
        own = letter in self._states
        if own and self._zoneout and not exact:
            return value
        variable = self._states[letter] if own else self.template.variable(f"{letter}_{self.name}")
        variable[tuple(running(a) for a in ordered_axes(self.template, value.axes))] = value
        return now_of(variable)


def ordered_axes(g: Template, axes: frozenset[Axis]) -> tuple[Axis, ...]:
    """Axes in the order in which the template met them."""
    return tuple(a for a in g._builder.axes.values() if a in axes)


def now_of(variable: Variable) -> Symbolic:
    """The variable at its running steps."""
    return variable[tuple(running(a) for a in variable._builder.decls[variable.name].axes)]

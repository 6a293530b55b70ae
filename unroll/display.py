"""How a template and its unfolded graph show themselves: pictures, the explorer, equations as LaTeX and Unicode."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from .ir.system import System
from .printing.latex import align, in_notebook
from .printing.unicode import system_pretty
from .unfold.dag import Dag


class Display:
    """What every template can show of itself; `str` gives its equations as they were written."""

    __slots__ = ()

    if TYPE_CHECKING:

        @property
        def system(self) -> System:
            """The checked system of equations."""

    def draw(self, path: str | os.PathLike[str] | None = None, **options: Any) -> Any:
        """The folded diagram, a black square on every delay edge; written to `path`, whose suffix names the format.

        Returns the drawing, which shows itself in a notebook.
        """
        from .render import draw_folded  # many modules, which most programs never use

        return draw_folded(self.system, path, **options)

    def explore(self, path: str | os.PathLike[str], **options: Any) -> None:
        """Write a page to explore the template with: one HTML file, which opens in any browser and needs no network.

        The folded diagram stands beside the unfolded one. A slider sets the length; a node that is clicked (or reached
        with Tab and the arrow keys) shows its equation and the line that wrote it; the passes play step by step.

        steps      the longest length of the slider, or all of them as a list; by default up to 8, and less where the
                   picture would grow large
        forced     as `teacher_forced` takes it, ``{"o": "y"}``: a switch that forces
        backward   False to leave out the backward pass; by default it is there where there is a loss
        values     arrays by name, as `Net.run` returns them, to colour the nodes by their norms
        gradients  likewise, as `Net.value_and_grad` returns them: ``net.value_and_grad(params, ["h", "o"], ...)``
        progress   called as ``progress(done, of)`` before each picture
        S=...      the lengths of axes other than the slider's; 3 where nothing is said

        Raises RenderError for a path that is no .html, LengthError, UndefinedError, ArrayError.
        """
        from .explorer import explore  # as above

        explore(self.system, path, **options)

    def latex(self) -> str:
        r"""The equations as an ``align*`` environment of LaTeX; the document needs ``\usepackage{amsmath}``.

        Vectors and matrices are bold, steps are superscripts, and h~ is the gradient of the loss by h, as in the book.
        """
        return align(self.system)

    def pretty(self) -> str:
        """The equations in Unicode.

        >>> from unroll import Template, ops, t
        >>> g = Template("leak"); x, alpha, h = g.input("x", 3), g.param("alpha"), g.variable("h", 3)
        >>> h[0] = 0
        >>> h[t] = alpha * h[t-1] + ops.sigmoid(x[t])**2
        >>> print(g.pretty())
        template leak(x⁽ᵗ⁾: input, 3; α: param, scalar)
          h⁽⁰⁾ = 0
          h⁽ᵗ⁾ = α h⁽ᵗ⁻¹⁾ + (σ(x⁽ᵗ⁾))²    t = 1…T
        """
        return system_pretty(self.system)

    def _repr_latex_(self) -> str:
        return in_notebook(self.system)

    def _repr_svg_(self) -> str:
        return str(self.draw().svg())


class Unfolded(Dag):
    """The unfolded graph of a template, which draws itself."""

    def draw(self, path: str | os.PathLike[str] | None = None, **options: Any) -> Any:
        """The unfolded diagram, one column a step; written to `path`, whose suffix names the format.

        options  of `unroll.render.draw_unfolded`: detail, columns, around, overlay and more
        """
        from .render import draw_unfolded  # as above

        return draw_unfolded(self, path, **options)

    def _repr_svg_(self) -> str:
        return str(self.draw().svg())

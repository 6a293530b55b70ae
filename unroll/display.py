"""How a template and its unfolded graph show themselves: pictures, the explorer, equations as LaTeX and Unicode."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .errors import RenderError, TemplateError
from .ir.system import System
from .printing.latex import align, in_notebook
from .printing.summary import Summary
from .printing.unicode import system_pretty
from .types import Array
from .unfold.dag import Dag

if TYPE_CHECKING:
    from .explorer import Page
    from .render.drawing import Drawing, Target


class Display:
    """What every template can show of itself; `str` gives its equations as they were written."""

    __slots__ = ()

    if TYPE_CHECKING:

        @property
        def system(self) -> System:
            """The checked system of equations."""

    def draw(
        self,
        path: Target | None = None,
        *,
        format: str | None = None,
        dpi: float | None = None,
        detail: str = "variables",
        boundaries: bool = False,
        shapes: bool = False,
        forced: Mapping[str, str] | None = None,
        primal: bool | None = None,
        rankdir: str = "BT",
        theme: str = "light",
        transparent: bool = False,
        max_nodes: int = 500,
    ) -> Drawing:
        """The folded diagram: one circle a name, and a black square on every read of an earlier step.

        A read of a later step has a white square; a number beside a square says how many steps it is when not one.
        Params stand on the edges they multiply, each in its own colour. The variables of a cell stand in a box.

        path        where to write it, or a file that is open for bytes, such as ``io.BytesIO()``
        format      "svg", "png", "pdf", "dot" or "gv"; by default the suffix names it
        dpi         of a PNG, dots per inch: 192 where nothing is said
        detail      "variables"; "equations" writes each variable's equation into its node; "ops" has one node an
                    operation
        boundaries  True to draw initial states such as ``h[0] = 0`` too
        shapes      True to write the shape of every name
        forced      as `teacher_forced` takes it: the reads of an output that the truth replaces are drawn crossed out,
                    beside those of the truth
        primal      of an adjoint: whether to draw, in grey, what the derivatives read of the forward pass; by default
                    only where that is little
        rankdir     the direction in which data flow: "BT", upwards, or "LR", to the right
        theme       "light", or "dark" for a dark page
        transparent True to draw no page behind it
        max_nodes   how many circles are still drawn

        Returns the drawing, which shows itself in a notebook. Raises RenderError, ValueError for an unknown detail.
        """
        from .render import draw_folded  # many modules, which most programs never use

        return draw_folded(
            self.system,
            path,
            format=format,
            dpi=dpi,
            detail=detail,
            boundaries=boundaries,
            shapes=shapes,
            forced=forced,
            primal=primal,
            rankdir=rankdir,
            theme=theme,
            transparent=transparent,
            max_nodes=max_nodes,
        )

    def explore(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        steps: int | Sequence[int] | None = None,
        forced: Mapping[str, str] | None = None,
        backward: bool | None = None,
        values: Mapping[str, Array] | None = None,
        gradients: Mapping[str, Array] | None = None,
        progress: Callable[[int, int], None] | None = None,
        **lengths: int,
    ) -> Page:
        """A page to explore the template with: one HTML file, which opens in any browser and needs no network.

        The folded diagram stands beside the unfolded one. A slider sets the length; a node that is clicked (or reached
        with Tab and the arrow keys) shows its equation and the line that wrote it; the passes play step by step.

        path       where to write it; without one the page is returned alone, and shows itself in a notebook
        steps      the longest length of the slider, or all of them as a list; by default up to 8, and less where the
                   picture would grow large
        forced     as `teacher_forced` takes it, ``{"o": "y"}``: a switch that forces
        backward   False to leave out the backward pass; by default it is there where there is a loss
        values     arrays by name, as `Net.run` returns them, to colour the nodes by their norms
        gradients  likewise, as `Net.value_and_grad` returns them: ``net.value_and_grad(params, ["h", "o"], ...)[1]``
        progress   called as ``progress(done, of)`` before each picture; by default what takes longer than a second
                   says so on stderr, on a terminal and in a notebook
        lengths    those of axes other than the slider's, ``S=4``; 3 where nothing is said

        Raises RenderError for a path that is no .html, LengthError, UndefinedError, ArrayError.
        """
        from .explorer import explore  # as above

        told = {"forced": forced, "backward": backward, "values": values, "gradients": gradients, "progress": progress}
        return explore(self.system, path, steps=steps, **told, **lengths)

    def summary(self) -> Summary:
        """The names of the template, their shapes and steps, and how many numbers its params hold; ``print`` it.

        >>> from unroll import Template, ops, t
        >>> g = Template("leak"); x, W, h = g.input("x", 3), g.param("W", (4, 3)), g.variable("h", 4)
        >>> h[0] = 0
        >>> h[t] = 0.5 * h[t-1] + W @ x[t]
        >>> g.summary()
        template leak: 1 input, 1 param of 12 numbers, 1 variable
          x    input            3    t = 1..T
          W    param        4 x 3                12 numbers
          h    variable         4    t = 0..T
        >>> g.summary().count
        12
        """
        return Summary(self.system)

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

    def _ipython_display_(self) -> None:
        """In a notebook: the equations and the folded diagram, one below the other.

        They are two outputs, since front ends show one format of each: LaTeX, the diagram as HTML or PNG.
        """
        from IPython.display import display

        try:
            display({"text/latex": in_notebook(self.system), "text/plain": str(self)}, raw=True)
            display(self.draw())
        except RenderError:
            return  # too large to draw
        except TemplateError:
            display({"text/plain": str(self)}, raw=True)  # as far as it is written


class Unfolded(Dag):
    """The unfolded graph of a template, which draws itself."""

    def draw(
        self,
        path: Target | None = None,
        *,
        format: str | None = None,
        dpi: float | None = None,
        detail: str | None = None,
        columns: int | None = 12,
        around: int | None = None,
        boundaries: bool = True,
        loss: str = "terms",
        shapes: bool = False,
        forced: Mapping[str, str] | None = None,
        primal: bool | None = None,
        overlay: Mapping[Any, Any] | None = None,
        measured: str = "",
        log: bool = False,
        rankdir: str = "BT",
        theme: str = "light",
        transparent: bool = False,
        max_nodes: int = 2000,
    ) -> Drawing:
        """The unfolded diagram: one column a step from left to right, one row a variable.

        What recurs along two axes is a grid: the steps of the first to the right, of the second upwards, and at each
        point the variables one behind the other.

        path        where to write it, or a file that is open for bytes, such as ``io.BytesIO()``
        format      "svg", "png", "pdf", "dot" or "gv"; by default the suffix names it
        dpi         of a PNG, dots per inch: 192 where nothing is said
        detail      as of the folded one; by default that of the graph, "variables" or "ops"
        columns     where an axis has more steps, its middle is left out; None to draw every step
        around      a step of the first axis: only it and its neighbours are drawn, as t-1, t and t+1, and the ends
        boundaries  False to leave out initial states such as ``h[0] = 0``
        loss        "terms" draws a loss that is a sum over steps as one L per step; "total" as the one node that it is
        shapes, forced
                    as of the folded one
        primal      of an adjoint: True to draw, in grey, what the derivatives read of the forward pass
        overlay     numbers from a run to colour nodes by: a name with an array over its steps, as `Net.run` returns, or
                    a key such as ``("h", 3)`` with the value there; what is an array at one step counts by its norm,
                    and nan and infinity are red
        measured    what the numbers are, for the legend
        log         True for a logarithmic scale
        rankdir     "BT": data flow upwards and steps run to the right; "LR": data to the right and steps downwards
        theme, transparent
                    as of the folded one
        max_nodes   how many circles are still drawn

        Returns the drawing, which shows itself in a notebook. Raises RenderError, ValueError for an unknown option.
        """
        from .render import draw_unfolded  # as above

        return draw_unfolded(
            self,
            path,
            format=format,
            dpi=dpi,
            detail=detail,
            columns=columns,
            around=around,
            boundaries=boundaries,
            loss=loss,
            shapes=shapes,
            forced=forced,
            primal=primal,
            overlay=overlay,
            measured=measured,
            log=log,
            rankdir=rankdir,
            theme=theme,
            transparent=transparent,
            max_nodes=max_nodes,
        )

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        return self.draw()._repr_mimebundle_(include, exclude)

"""Diagrams: the folded template and its unfolded graph, as SVG, PNG, PDF or DOT.

From the equations to a file in five steps: `arrows` (who reads whom, through which params) and `edge_marks` (where
gradients stop), `view_model` (what is drawn, and how each part looks), `folded_layout` and `unfolded` (circles on a
grid and links between them), `edge_routing` (how the links bend and where their labels go), `svg` and `dot` (SVG; DOT
and the engines for PNG and PDF). Nothing before these knows a file format.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..ir.system import System
from ..unfold.dag import Dag
from .drawing import Drawing, Output, Target
from .folded_layout import folded
from .heatmap import lay
from .unfolded import unfolded
from .view_model import DrawingOptions

__all__ = ["Drawing", "draw_folded", "draw_unfolded"]


def draw_folded(
    system: System,
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

    detail      "variables"; "equations" writes each variable's equation into its node; "ops" has one node an operation
    boundaries  True to draw initial states such as ``h[0] = 0`` too
    shapes      True to write the shape of every name
    forced      as `Template.teacher_forced` takes it: the reads of an output that the truth replaces are drawn crossed
                out, beside those of the truth
    primal      of an adjoint: whether to draw, in grey, what the derivatives read of the forward pass; by default only
                where that is little
    rankdir     the direction in which data flow: "BT", upwards, or "LR", to the right
    theme       "light", or "dark" for a dark page
    transparent True to draw no page behind it
    max_nodes   how many circles are still drawn
    format      "svg", "png", "pdf", "dot" or "gv"; by default the suffix names it
    dpi         of a PNG, dots per inch: 192 where nothing is said

    Written to `path`, or to a file that is open for bytes, where one is given. Raises RenderError, ValueError for an
    unknown option.
    """
    Output(path, format, dpi)
    options = DrawingOptions(detail, shapes, forced, primal, rankdir, theme, transparent)
    drawing = Drawing(folded(system, options, boundaries=boundaries, max_nodes=max_nodes))
    if path is not None:
        drawing.save(path, format=format, dpi=dpi)
    return drawing


def draw_unfolded(
    dag: Dag,
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

    What recurs along two axes is a grid: the steps of the first to the right, of the second upwards, and at each point
    the variables one behind the other.

    detail     as of the folded one; by default that of the graph, "variables" or "ops"
    columns    where an axis has more steps, its middle is left out; None to draw every step
    around     a step of the first axis: only it and its neighbours are drawn, as t-1, t and t+1, and the ends beyond
    boundaries False to leave out initial states such as ``h[0] = 0``
    loss       "terms" draws a loss that is a sum over steps as one L per step, as in print; "total" as the one node
               that it is
    shapes, forced
               as of the folded one
    primal     of an adjoint: True to draw, in grey, what the derivatives read of the forward pass
    overlay    numbers from a run to colour nodes by: a name with an array over its steps, as `Net.run` returns, or a
               key such as ``("h", 3)`` with the value there; what is an array at one step counts by its norm, and nan
               and infinity are red
    measured, log
               what the numbers are, for the legend; and True for a logarithmic scale
    rankdir    "BT" for data that flow upwards and steps to the right, "LR" for data to the right and steps downwards
    theme, transparent, format, dpi
               as of the folded one
    max_nodes  how many circles are still drawn

    Written to `path`, or to a file that is open for bytes, where one is given. Raises RenderError, ValueError for an
    unknown option.
    """
    Output(path, format, dpi)
    chosen = dag.detail if detail is None else detail
    options = DrawingOptions(chosen, shapes, forced, primal, rankdir, theme, transparent)
    picture = unfolded(
        dag, options, columns=columns, around=around, boundaries=boundaries, loss=loss, max_nodes=max_nodes
    )
    if overlay is not None:
        lay(picture, overlay, measured, log)
    drawing = Drawing(picture)
    if path is not None:
        drawing.save(path, format=format, dpi=dpi)
    return drawing

"""Diagrams: the folded template and its unfolded graph, as SVG, PNG, PDF or DOT.

From the equations to a file in five steps: `arrows` (who reads whom, through which params) and `edge_marks` (where
gradients stop), `view_model` (what is drawn, and how each part looks), `folded_layout` and `unfolded` (circles on a
grid and links between them), `edge_routing` (how the links bend and where their labels go), `svg` and `dot` (SVG; DOT
and the engines for PNG and PDF). Nothing before these knows a file format.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from ..ir.system import System
from ..unfold.dag import Dag
from .drawing import Drawing, format_of
from .folded_layout import folded
from .heatmap import lay
from .unfolded import unfolded
from .view_model import DrawingOptions

__all__ = ["Drawing", "draw_folded", "draw_unfolded"]


def draw_folded(
    system: System,
    path: str | os.PathLike[str] | None = None,
    *,
    detail: str = "variables",
    boundaries: bool = False,
    shapes: bool = False,
    forced: Mapping[str, str] | None = None,
    primal: bool | None = None,
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
    max_nodes   how many circles are still drawn

    Written to `path` where one is given. Raises RenderError, ValueError for an unknown detail.
    """
    if path is not None:
        format_of(path)
    options = DrawingOptions(detail, shapes, forced, primal)
    drawing = Drawing(folded(system, options, boundaries=boundaries, max_nodes=max_nodes))
    if path is not None:
        drawing.save(path)
    return drawing


def draw_unfolded(
    dag: Dag,
    path: str | os.PathLike[str] | None = None,
    *,
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
    max_nodes: int = 2000,
) -> Drawing:
    """The unfolded diagram: one column a step from left to right, one row a variable.

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
    max_nodes  how many circles are still drawn

    Written to `path` where one is given. Raises RenderError, ValueError for an unknown option.
    """
    if path is not None:
        format_of(path)
    options = DrawingOptions(dag.detail if detail is None else detail, shapes, forced, primal)
    picture = unfolded(
        dag, options, columns=columns, around=around, boundaries=boundaries, loss=loss, max_nodes=max_nodes
    )
    if overlay is not None:
        lay(picture, overlay, measured, log)
    drawing = Drawing(picture)
    if path is not None:
        drawing.save(path)
    return drawing

"""Diagrams: the folded template and its unfolded graph, as SVG, PNG, PDF or DOT.

From the equations to a file in four steps: `reads` (who reads whom, through which params), `folded` and `unfolded`
(circles on a grid and links between them), `routes` (how the links bend and where their labels go), `writer` (DOT and
the layout engines). Nothing below `writer` knows a file format.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ..ir import System
from .drawing import Drawing, format_of
from .folded import folded
from .unfolded import unfolded

if TYPE_CHECKING:
    from ..dag import Dag

__all__ = ["Drawing", "draw_folded", "draw_unfolded"]


def draw_folded(
    system: System,
    path: str | os.PathLike[str] | None = None,
    *,
    boundaries: bool = False,
    primal: bool | None = None,
    max_nodes: int = 500,
) -> Drawing:
    """The folded diagram: one circle a name, and a black square on every read of an earlier step.

    A read of a later step has a white square; a number beside a square says how many steps it is when not one.
    Params stand on the edges they multiply, each in its own colour.

    boundaries  True to draw initial states such as ``h[0] = 0`` too
    primal      of an adjoint: whether to draw, in grey, what the derivatives read of the forward pass; by default only
                where that is little
    max_nodes   how many circles are still drawn

    Written to `path` where one is given. Raises RenderError.
    """
    if path is not None:
        format_of(path)
    drawing = Drawing(folded(system, boundaries=boundaries, primal=primal, max_nodes=max_nodes))
    if path is not None:
        drawing.save(path)
    return drawing


def draw_unfolded(
    dag: Dag,
    path: str | os.PathLike[str] | None = None,
    *,
    columns: int | None = 12,
    loss: str = "terms",
    primal: bool | None = None,
    max_nodes: int = 2000,
) -> Drawing:
    """The unfolded diagram: one column a step from left to right, one row a variable.

    columns    where an axis has more steps, its middle is left out; None to draw every step
    loss       "terms" draws a loss that is a sum over steps as one L per step, as in print; "total" as the one node
               that it is
    primal     of an adjoint: whether to draw, in grey, what the derivatives read of the forward pass; by default only
               where that is little, and not into the gradients of params
    max_nodes  how many circles are still drawn

    Written to `path` where one is given. Raises RenderError.
    """
    if path is not None:
        format_of(path)
    drawing = Drawing(unfolded(dag, columns=columns, loss=loss, primal=primal, max_nodes=max_nodes))
    if path is not None:
        drawing.save(path)
    return drawing

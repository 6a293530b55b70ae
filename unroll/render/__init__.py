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
    """The folded diagram of a system: see `unroll.display.Display.draw`, which names the options."""
    Output(path, format, dpi)  # refused before anything is drawn
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
    """The unfolded diagram of a graph: see `unroll.display.Unfolded.draw`, which names the options."""
    Output(path, format, dpi)  # refused before anything is drawn
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

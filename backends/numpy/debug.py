"""The message for a nan or an infinity met while running: which variable, which step, forward or backward."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...dag import Node
from ...errors import message
from ...ir import System
from ...text import Writer


def describe(system: System, name: str, steps: Sequence[int], value: Any) -> str:
    """What was met, where, in which direction, and the equations it comes from."""
    decl = system.decls[name]
    base, direction = name, "forward"
    while system.decls[base].of is not None and system.decls[base].kind == "cotangent":
        base, direction = str(system.decls[base].of), "backward"
    what = "nan" if np.any(np.isnan(value)) else "an infinity"
    shown = str(Node(name, tuple(steps)))
    owner = base.partition(".")[0]
    serves = f", an operation inside {owner}" if "." in name else ""
    writer = Writer(system)
    rows = [(writer.equation(e), e.source) for e in system.equations if e.out.name == name]
    given = "; it was given so" if decl.given and not rows else ""
    return message(f"{what} in {shown}{serves} ({direction}){given}", *rows)

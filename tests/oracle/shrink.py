"""A failing case made small: parts are dropped, replaced by leaves and shortened as long as the failure stays."""

from __future__ import annotations

import time
from collections.abc import Callable

from .data import Case
from .probes import Failure, Probe
from .shrink_parts import (
    drop_results,
    fewer_examples,
    shorter,
    simpler_nodes,
    simpler_probe,
    simpler_statements,
    variables_to_inputs,
)
from .shrink_sizes import fewer_axes, plain_names, rounder, smaller_shapes
from .trees import AT, END

Found = list[Failure]


Try = Callable[[Case, Probe], Found]


def shrunk(case: Case, probe: Probe, failures: Found, attempt: Try, seconds: float) -> tuple[Case, Probe, Found]:
    """The smallest case found in some seconds that fails alike; `attempt` must survive whatever a case does."""
    until = time.monotonic() + seconds
    wanted = {family(f) for f in failures}
    progress = True
    while progress and time.monotonic() < until:
        progress = False
        for smaller in PASSES:
            again = True
            while again and time.monotonic() < until:
                again = False
                for other, how in smaller(case, probe):
                    if time.monotonic() > until:
                        break
                    found = [f for f in attempt(other, how) if family(f) in wanted]
                    if found:
                        case, probe, failures = other, how, found
                        progress = again = True
                        break
                if smaller in ONCE:
                    break
    return case, probe, failures


def family(failure: Failure) -> str:
    """What must stay the same while shrinking: a wrong number may become another wrong number."""
    return failure.signature if failure.kind in ("error", "no error") else failure.kind


PASSES = [
    simpler_probe,
    drop_results,
    fewer_examples,
    shorter,
    variables_to_inputs,
    simpler_nodes,
    simpler_statements,
    fewer_axes,
    smaller_shapes,
    plain_names,
    rounder,
]


ONCE = {simpler_probe, plain_names, rounder}
__all__ = ["AT", "END", "shrunk"]

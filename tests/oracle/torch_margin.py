"""How close a run came to a kink, a tie or a jump; and numbers of one kind."""

from __future__ import annotations

import math

import torch

Tensor = torch.Tensor


class Margin:
    """The least distance from a kink, a tie or a jump that a run came across; exact ones of plain reads don't count."""

    def __init__(self) -> None:
        self.least = math.inf

    def note(self, distance: Tensor) -> None:
        """Take in how far some elements are from where the operation is not smooth."""
        if distance.numel():
            near = torch.nan_to_num(distance.detach(), nan=math.inf).min().item()
            self.least = min(self.least, near)


def number(x: Tensor, dtype: torch.dtype) -> Tensor:
    """A tensor of labels or bools as floats; floats as they are."""
    return x if x.is_floating_point() else x.to(dtype)


def together(args: list[Tensor], dtype: torch.dtype) -> list[Tensor]:
    """Numbers of one kind: all labels, or all floats."""
    return args if all(a.dtype == torch.int64 for a in args) else [number(a, dtype) for a in args]

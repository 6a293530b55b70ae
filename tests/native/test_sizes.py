"""Sizes: arithmetic of lengths that are not known yet."""

from __future__ import annotations

from unroll.backends.common.symbolic_size import BATCH, ONE, ZERO, Size, product


def test_no_steps_along_a_dimension_are_none_whatever_its_length() -> None:
    """Else an operand that a dimension leaves where it is would keep that dimension from being merged with others."""
    assert ZERO * BATCH == BATCH * ZERO == Size(0)
    assert product((Size(3), BATCH, ZERO)) == ZERO
    assert product((BATCH, ONE, Size(3))) == Size(3) * BATCH

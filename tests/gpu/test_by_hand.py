"""Programs whose values are known without another backend, in the CUDA text as a stand-in for the GPU runs it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from laws import test_beyond, test_by_hand, test_joined, test_ragged_axes, test_resets, test_rows

ALONE = {
    f.__name__: f
    for module in (test_by_hand, test_beyond, test_rows, test_joined)
    for f in vars(module).values()
    if callable(f) and getattr(f, "__name__", "").startswith("test_") and [*f.__annotations__] == ["backend", "return"]
}
"""Tests that take a backend and nothing else."""
ON_ANOTHER = ("test_zeros_of_both_signs_among_attributes",)  # an operation of the user's runs on numpy, which is said
CALLS: list[tuple[Callable[..., None], dict[str, Any]]] = [
    (test_by_hand.test_sums_of_products_of_other_sizes, {"rows": 300}),
    (test_by_hand.test_a_counter_that_begins_at_infinity, {"dtype": "float32"}),
    (test_rows.test_two_sums_of_ones, {"dtype": "float32"}),
    (test_rows.test_reductions_of_every_kind_in_pairs, {"width": 8}),
    (test_rows.test_rows_and_columns_beside_a_vector, {"shape": (3, 17)}),
    (test_rows.test_gradients_through_reductions_side_by_side, {"width": 300}),
    *((test_joined.test_outputs_and_gradients, {"form": form}) for form in ("as written", "both late", "leftwards")),
    (test_resets.test_in_both_directions, {"form": "replaced", "start": float("inf")}),
    (test_resets.test_in_both_directions, {"form": "nested", "start": 0.0}),
    (test_ragged_axes.test_a_term_without_axes_counts_at_every_step, {"lengths": {"T": [4, 4], "S": [3, 1]}}),
    (test_ragged_axes.test_terms_of_one_axis_under_a_sum_over_three, {"lengths": {"U": [1, 2], "S": [1, 0]}}),
]


@pytest.mark.parametrize("name", [n for n in ALONE if n not in ON_ANOTHER])
def test_alone(name: str, emulated: str) -> None:
    ALONE[name](backend=emulated)


@pytest.mark.parametrize(("check", "options"), CALLS, ids=lambda v: v.__name__ if callable(v) else str(v))
def test_with_options(check: Callable[..., None], options: dict[str, Any], emulated: str) -> None:
    check(**options, backend=emulated)

"""Sums of float32 numbers in blocks, along any axes of arrays of any shape and layout."""

from __future__ import annotations

import numpy as np
import pytest

from unroll.backends.numpy import sums, tuning


@pytest.mark.parametrize(("block", "most"), [(2, 3), (3, 4), (5, 1), (128, 1024)])
def test_they_are_numpys(block: int, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuning, "SUM_BLOCK", block)
    monkeypatch.setattr(tuning, "MAX_RUNNING_SUM", most)
    rng = np.random.default_rng(block)
    for _ in range(400):
        rank = int(rng.integers(1, 5))
        x = rng.random(tuple(rng.choice([0, 1, 2, 3, 5, 7, 16, 33], rank))).astype(np.float32)
        x = x.transpose(rng.permutation(rank))[:: int(rng.choice([1, -1]))]
        axes = tuple(int(a) for a in rng.permutation(rank)[: int(rng.integers(1, rank + 1))])
        axis = axes[0] if len(axes) == 1 and rng.random() < 0.5 else axes
        want = x.sum(axes, dtype=np.float64)
        found, out = sums.total(x, axis), np.empty(want.shape, np.float32)
        sums.total(x, axis, out)
        assert found.shape == want.shape
        np.testing.assert_allclose(found, want, rtol=1e-5)
        np.testing.assert_allclose(out, want, rtol=1e-5)


@pytest.mark.parametrize("shape", [(300_000, 2), (400, 500, 3), (3000, 40, 2), (5, 60_000, 2), (500_000,)])
def test_the_error_does_not_grow_with_their_number(shape: tuple[int, ...]) -> None:
    x, axes = np.full(shape, 0.1, np.float32), tuple(range(max(1, len(shape) - 1)))
    np.testing.assert_allclose(sums.total(x, axes), x.sum(axes, dtype=np.float64), rtol=4e-6)

"""Fixtures for every test: seeded randomness and reproducible Hypothesis runs."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import settings

from unroll.transform import verify

settings.register_profile("unroll", derandomize=True, deadline=None, database=None, max_examples=60)
settings.register_profile("thorough", derandomize=False, deadline=None, database=None, max_examples=1000)
os.environ.setdefault("UNROLL_TRACEBACK", "full")  # what fails here is ours
verify.enabled = True  # between all passes, of every template that a test compiles
settings.load_profile("unroll")  # --hypothesis-profile=thorough overrides it


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> np.random.Generator:
    """A generator seeded by the test's own id: the same numbers alone, in the whole suite and on any worker."""
    return np.random.default_rng(zlib.crc32(request.node.nodeid.encode()))


@pytest.fixture(autouse=True)
def float_errors_restored() -> Iterator[None]:
    """Neither the package nor a test may leave NumPy's floating-point error handling changed."""
    before = np.geterr()
    yield
    assert np.geterr() == before

"""A page that several tests look at."""

from __future__ import annotations

import pytest
from helpers.pages import jordan


@pytest.fixture(scope="session")
def page_of_jordan(tmp_path_factory):
    """A page with every control: its path."""
    numpy = pytest.importorskip("numpy")
    path = tmp_path_factory.mktemp("page") / "jordan.html"
    rng = numpy.random.default_rng(0)
    values = {"h": rng.normal(size=(3, 2, 4)), "o": rng.normal(size=(3, 2, 2))}
    values["h"][1] = numpy.nan
    gradients = {"h": 10.0 ** -numpy.arange(3.0)[:, None]}
    jordan().explore(path, steps=3, forced={"o": "y"}, values=values, gradients=gradients)
    return path

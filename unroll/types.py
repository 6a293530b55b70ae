"""Names for what users pass and get back: what Python's types cannot say, since arrays come from several libraries."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Array = Any
"""An array: NumPy's, CuPy's where the backend computes there, and as an argument whatever becomes one of these."""
Params = Mapping[str, Array]
"""Arrays by the names of params, as `Net.init` makes them."""
Outputs = Any
"""One array where one name was asked for; a dict of arrays by what was asked for where several were."""
Seed = Any
"""An int from 0 up, which gives the same draws again, or a `numpy.random.Generator`; None where nothing is drawn."""
ExampleLengths = Any
"""The steps of each example, ``[3, 5]``, or by axis, ``{"T": [3, 5]}``; None where all have the same."""

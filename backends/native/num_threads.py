"""How many threads the backend "native" uses: as the environment says, or as was set."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from ...ops.integers import integer
from . import tuning

LIMITS = ("UNROLL_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")
"""Environment variables that say how many threads to use, the first that is set."""


def _usual() -> int:
    """What the environment says, or as many as there are cores for this process."""
    if sys.platform != "linux":
        return 1
    for name in LIMITS:
        value = os.environ.get(name, "").split(",")[0]
        if value.isdecimal() and int(value) > 0:
            return min(int(value), tuning.MAX_THREADS)
    return min(len(os.sched_getaffinity(0)), tuning.MAX_THREADS)


class Threads:
    """The numbers of this process.

    most   how many a program that is compiled now may use
    limit  how many may compute at once
    tell   the pool, which is told when they change
    """

    def __init__(self) -> None:
        self.most = self.limit = _usual()
        self.tell: Callable[[], None] | None = None

    def set(self, number: int) -> None:
        """A new limit."""
        self.limit = min(number, tuning.MAX_THREADS) if sys.platform == "linux" else 1
        self.most = max(self.most, self.limit)
        if self.tell is not None:
            self.tell()


THREADS = Threads()


def set_num_threads(number: int) -> None:
    """Let at most so many threads compute at once, that of the caller included, from the next call of any net on.

    number  from 1 up; beyond 8 more would wait more than they help, and 8 is set. Without a call of this it is what
            UNROLL_NUM_THREADS says, or OMP_NUM_THREADS, or the number of cores that the process may use

    It is of the backend "native" and of Linux; elsewhere one thread computes, and products of the backend "numpy" are
    NumPy's own, whose BLAS threadpoolctl limits (as it does this). A net that was compiled while fewer were allowed
    goes on with those. Once a net is compiled, no bit of its results depends on it. Raises ValueError.

    >>> import unroll
    >>> before = unroll.get_num_threads()
    >>> unroll.set_num_threads(1)
    >>> unroll.get_num_threads()
    1
    >>> unroll.set_num_threads(before)
    """
    found = integer(number)
    if found is None or found < 1:
        raise ValueError(f"a number of threads is an integer from 1 up; got {number!r}")
    THREADS.set(found)


def get_num_threads() -> int:
    """How many threads may compute at once, that of the caller included: see `unroll.set_num_threads`."""
    return THREADS.limit

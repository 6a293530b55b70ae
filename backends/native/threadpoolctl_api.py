"""What makes the pool known to threadpoolctl, where that is installed: ``threadpool_limits(1)`` limits it too.

threadpoolctl finds pools by the names of shared libraries that a process has loaded. Code that is compiled in memory
belongs to none; but llvmlite's library, which has compiled it, is there wherever a pool is.
"""

from __future__ import annotations

from functools import cache

from .num_threads import get_num_threads, set_num_threads

try:
    import threadpoolctl
except ImportError:
    threadpoolctl = None


@cache
def know_pool() -> None:
    """Register it, once."""
    if threadpoolctl is None:
        return

    class Controller(threadpoolctl.LibController):  # type: ignore[misc]
        """Of the pool."""

        user_api = internal_api = "unroll"
        filename_prefixes = ("libllvmlite", "llvmlite")

        def get_num_threads(self) -> int:
            return get_num_threads()

        def set_num_threads(self, num_threads: int) -> None:
            set_num_threads(num_threads)

        def get_version(self) -> None:
            return None

    threadpoolctl.register(Controller)

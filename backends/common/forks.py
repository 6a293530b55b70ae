"""Forks: no lock is held by a thread that is not there.

A child has one thread, the one that forked, and a copy of everything else: a lock that another thread held stays held
for ever. So whoever forks takes the locks that are registered here first, each held elsewhere for a moment or for one
call of a library; then nobody is at what they guard, in the child neither.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from threading import local
from typing import Any, TypeVar

_Lock = TypeVar("_Lock", bound=AbstractContextManager[Any])

_locks: list[AbstractContextManager[Any]] = []
_afterwards: list[Callable[[], None]] = []
_own = local()
"""What the forking thread has taken: two threads may fork at once."""


def across_forks(lock: _Lock) -> _Lock:
    """The lock, which is free while a process forks; one waited for while another is held comes after that."""
    _locks.append(lock)
    return lock


def after_fork(function: Callable[[], None]) -> Callable[[], None]:
    """The function, which is called in every child before anything else."""
    _afterwards.append(function)
    return function


def _before() -> None:
    _own.taken = []
    for lock in _locks:
        lock.__enter__()
        _own.taken.append(lock)


def _release() -> None:
    for lock in reversed(_own.taken):
        lock.__exit__(None, None, None)


def _in_child() -> None:
    _release()
    for function in _afterwards:
        function()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_release, after_in_child=_in_child)

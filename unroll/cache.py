"""A cache of bounded size: what was used least recently goes first (LRU)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

Value = TypeVar("Value")


class BoundedCache(Generic[Value]):
    """Values by key, of which only the `limit` used last are kept: what was not asked for longest goes first.

    Each step of it is one of the interpreter's own, so that threads may share it without a lock.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._kept: OrderedDict[Hashable, Value] = OrderedDict()
        self._last: tuple[Hashable, Value | None] = (None, None)

    def get(self, key: Hashable) -> Value | None:
        """The value of a key, which is now the one used last; None where it is not kept. No key is None."""
        last, value = self._last
        if last == key:  # as a rule: to compare is quicker than to look up
            return value
        value = self._kept.pop(key, None)
        if value is not None:
            self.put(key, value)
        return value

    def put(self, key: Hashable, value: Value) -> None:
        """Keep a value."""
        self._kept.pop(key, None)
        self._kept[key] = value
        self._last = key, value
        while len(self._kept) > self.limit:
            self._kept.popitem(last=False)

    def __len__(self) -> int:
        return len(self._kept)

"""Records: dataclasses that nothing changes once they are made, of which a compilation makes thousands.

That nothing does is for a type checker to see. To have the interpreter refuse it, as ``frozen=True`` does, takes four
times as long to make one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar, dataclass_transform, overload

Made = TypeVar("Made")
Value = TypeVar("Value")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def record(cls: type[Made]) -> type[Made]:
    """Make a class a dataclass that is compared and hashed by its fields."""
    return dataclass(unsafe_hash=True)(cls)


class lazy(Generic[Value]):
    """What a record is asked for again and again, worked out the first time.

    It is `functools.cached_property` without the lock that this takes before Python 3.12, for longer than most of the
    work here. Two threads that ask at once both work it out, and find the same.
    """

    def __init__(self, work: Callable[[Any], Value]) -> None:
        self.work, self.name, self.__doc__ = work, work.__name__, work.__doc__

    @overload
    def __get__(self, made: None, kind: type) -> lazy[Value]: ...

    @overload
    def __get__(self, made: object, kind: type) -> Value: ...

    def __get__(self, made: object, kind: type) -> Value | lazy[Value]:
        if made is None:
            return self
        value = made.__dict__[self.name] = self.work(made)
        return value

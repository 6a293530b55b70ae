"""Requested outputs: names, and instances such as ``("h", 3)``, looked up in a template.

What is asked for is called everywhere by what was asked: a variable by its name, ``"h"``, and an instance by its name
and its steps, ``("h", 3)``; what has no name of the user's by a text with a tilde. So no two can be taken for each
other, whatever a user calls a variable.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, TypeGuard

from ..errors import ArrayError, MissingError, UndefinedError, message
from ..ir.axes import TIME, Index, fixed, running
from ..ir.system import Decl, Ref, System
from ..ops.integers import integer
from ..types import Array

Names = str | tuple[str | int, ...] | Sequence[Any] | None
Key = str | tuple[Any, ...]
"""``"h"``, or ``("h", 3)`` with Python's integers."""


@cache
def gradients(count: int) -> tuple[str, ...]:
    """What the gradients by so many things are called, in the order in which these were asked for."""
    return tuple(f"~{n}" for n in range(count))


@dataclass(frozen=True)
class Queries:
    """Looks names up in a template as the user wrote it and as it was simplified."""

    system: System
    simple: System

    @cached_property
    def params(self) -> tuple[str, ...]:
        """All params, in the order of their declaration."""
        return tuple(n for n, d in self.system.decls.items() if d.kind == "param")

    def asked(self, names: Names) -> tuple[bool, dict[Key, Ref]]:
        """Whether one name or instance is asked for by itself; and the outputs."""
        single = isinstance(names, str) or instance(names)
        return single, self.wanted([names] if single else names)

    def wanted(self, names: object, what: str = "") -> dict[Key, Ref]:
        """Outputs by what they are called. Raises UndefinedError."""
        if names is None:
            if not self.system.outputs:
                raise UndefinedError(
                    f"template {self.system.name!r} has no outputs: name what you want, net.run(params, 'h', ...), "
                    "or declare g.output(name, expr)"
                )
            return dict(self.system.outputs)
        if not isinstance(names, Iterable):
            raise UndefinedError(f"{names!r} is no name; ask for 'h', for ('h', 3), or for a list of such")
        wanted: dict[Key, Ref] = {}
        for item in names:
            key = keyed(item)
            name, steps = parted(key)
            decl = self.simple.decls.get(name) if isinstance(name, str) else None
            if decl is None or decl.kind in ("temporary", "constant"):
                known = ", ".join(n for n, d in self.simple.decls.items() if d.kind == "variable")
                if what:
                    raise UndefinedError(
                        f"{what} names {name!r}; choose among {self._given()} or the variables: {known}"
                    )
                raise UndefinedError(f"there is no variable {name!r} in template {self.system.name!r}; it has {known}")
            if steps and len(steps) != len(decl.axes):
                count = f"{len(decl.axes)} ax{'is' if len(decl.axes) == 1 else 'es'}"
                raise UndefinedError(f"{name} runs along {count}, and {item!r} gives {len(steps)} steps")
            self._need_definition(name, bool(steps))
            wanted[key] = instance_at(decl, steps)
        return wanted

    def _need_definition(self, name: str, at_a_step: bool) -> None:
        decl = self.system.decls[name]
        written = [e for e in self.system.equations if e.out.name == name]
        if decl.kind == "variable" and not (
            written if at_a_step else any(len(e.out.running) == len(decl.axes) for e in written)
        ):
            ref = Ref(name, tuple(running(a) for a in decl.axes) or (running(TIME),))
            only = "only boundaries of it are defined" if written else "no equation defines it"
            raise UndefinedError(
                message(f"{name} is requested, and {only}", (f"variable {name}", decl.source), fix=f"Add {ref} = ...")
            )

    def wrt(self, wrt: object) -> tuple[Key, ...]:
        """Names and instances to differentiate by; every param where nothing is said. Raises UndefinedError."""
        if wrt is None:
            return self.params
        if hasattr(wrt, "shape") or hasattr(wrt, "dtypes"):
            what = f"wrt is a name or several, and got a {type(wrt).__name__}"
            raise UndefinedError(f"{what}: pass inputs by name, as in x=x")
        if isinstance(wrt, Iterable) and not isinstance(wrt, str) and not instance(wrt):
            items = tuple(map(keyed, wrt))
        else:
            items = (keyed(wrt),)
        given = [n for n in items if isinstance(n, str) and n in self.system.decls and self.system.decls[n].given]
        self.wanted([n for n in items if n not in given], "wrt")
        return items

    def whole(self, cotangents: Iterable[Any]) -> tuple[str, ...]:
        """The names of variables to each of which a cotangent is given, sorted. Raises UndefinedError."""
        for name in cotangents:
            if not isinstance(name, str):
                raise UndefinedError(f"cotangents are given for whole variables, by name; got {name!r}")
        return tuple(sorted(cotangents))

    def need(self, names: Sequence[str], what: str) -> None:
        """Raises UndefinedError for what is neither a param nor an input."""
        for name in names:
            decl = self.system.decls.get(name)
            if decl is None or not decl.given:
                raise UndefinedError(f"{what} names {name!r}; choose among {self._given()}")

    def _given(self) -> str:
        decls = self.system.decls.items()
        return "the params and inputs: " + ", ".join(
            n for n, d in decls if d.given and d.dtype == "float" and not d.automatic
        )


def instance(key: object) -> TypeGuard[tuple[Any, ...]]:
    """True for ``("h", 3)``: one instance, not several names; for ``("h", 3.5)`` too, which `keyed` refuses."""
    if not isinstance(key, tuple) or len(key) < 2 or not isinstance(key[0], str):
        return False
    return not any(isinstance(k, (str, tuple, list)) for k in key[1:])


def instances(clamp: object) -> tuple[tuple[str, tuple[int, ...]], ...]:
    """The instances that a dict from instances to arrays names. Raises ArrayError."""
    if not isinstance(clamp, Mapping) or not all(map(instance, clamp)):
        got = f"the keys {list(clamp)}" if isinstance(clamp, Mapping) else f"a {type(clamp).__name__}"
        raise ArrayError(f'clamp= takes a dict from instances to arrays, {{("h", 3): value}}; got {got}')
    return tuple(parted(keyed(k)) for k in clamp)


def keyed(item: Any) -> Key:
    """What was asked for as it is called: steps become Python's integers. Raises UndefinedError for other steps."""
    if not isinstance(item, tuple):
        return item  # type: ignore[no-any-return]
    name, *given = item or ((),)
    steps = [integer(k) for k in given]
    for k, step in zip(given, steps, strict=True):
        if step is None:
            raise UndefinedError(f"{item!r}: a step is an integer, got {k!r}")
    return (name, *steps) if steps else name


def parted(key: Key) -> tuple[Any, tuple[int, ...]]:
    """The name and the steps of what was asked for; no steps where that is a whole variable."""
    return (key[0], key[1:]) if isinstance(key, tuple) else (key, ())


def instance_at(decl: Decl, steps: Sequence[int]) -> Ref:
    """The instance at these steps; without any, all of them."""
    index: tuple[Index, ...] = tuple(map(fixed, steps)) or tuple(map(running, decl.axes))
    return Ref(decl.name, index)


def one(name: object, call: str) -> str:
    """The name of a whole variable. Raises UndefinedError for anything else."""
    if isinstance(name, str):
        return name
    raise UndefinedError(f"{call} is of one whole variable, by its name, as in 'h'; got {name!r}")


def second(given: object, call: str, what: str) -> Mapping[str, Array]:
    """Directions by name. Raises MissingError, ArrayError."""
    if isinstance(given, Mapping):
        return given
    told = f"{what}, a dict of arrays by name, is given second, without its name: net.{call}(params, {what}, x=...)"
    raise MissingError(told) if given is None else ArrayError(f"{told}; got a {type(given).__name__}")

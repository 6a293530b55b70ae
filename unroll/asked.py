"""What is asked of a net: names, and instances such as ``("h", 3)``, found in its template or named as missing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

from .errors import UndefinedError, message
from .ir import Ref, System
from .timeindex import TIME, Index, fixed, running

Names = str | tuple[str | int, ...] | Sequence[Any] | None


@dataclass(frozen=True)
class Asked:
    """Looks names up in a template as the user wrote it and as it was simplified."""

    system: System
    simple: System

    @cached_property
    def params(self) -> tuple[str, ...]:
        """All params, in the order of their declaration."""
        return tuple(n for n, d in self.system.decls.items() if d.kind == "param")

    def asked(self, names: Names) -> tuple[bool, dict[str, Ref]]:
        """Whether one name or instance is asked for by itself; and the outputs."""
        single = isinstance(names, str) or instance(names)
        return single, self.wanted([names] if single else names)

    def wanted(self, names: Any, what: str = "") -> dict[str, Ref]:
        """Outputs by the name under which they are returned."""
        if names is None:
            if not self.system.outputs:
                raise UndefinedError(
                    f"template {self.system.name!r} has no outputs: name what you want, net.run(params, 'h', ...), "
                    "or declare g.output(name, expr)"
                )
            return dict(self.system.outputs)
        if not isinstance(names, Iterable):
            raise UndefinedError(f"{names!r} is no name; ask for 'h', for ('h', 3), or for a list of such")
        wanted = {}
        for item in names:
            name, *steps = item if isinstance(item, tuple) else (item,)
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
            index: tuple[Index, ...] = tuple(map(fixed, steps)) or tuple(running(a) for a in decl.axes)
            ref = Ref(name, index)
            wanted[str(ref) if steps else name] = ref
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
                message(f"{name} is asked for, and {only}", (f"variable {name}", decl.source), fix=f"Add {ref} = ...")
            )

    def wrt(self, wrt: Any) -> tuple[Any, ...]:
        """Names and instances to differentiate by; every param where nothing is said. Raises UndefinedError."""
        if wrt is None:
            return self.params
        items = (wrt,) if isinstance(wrt, str) or instance(wrt) or not isinstance(wrt, Iterable) else tuple(wrt)
        given = [n for n in items if n in self.system.decls and self.system.decls[n].given]
        self.wanted([n for n in items if n not in given], "wrt")
        return items

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


def instance(key: Any) -> bool:
    """True for ``("h", 3)``: one instance, not several names."""
    return isinstance(key, tuple) and len(key) > 1 and all(hasattr(k, "__index__") for k in key[1:])


@cache
def cotangent(name: Any) -> str:
    """The output that holds the gradient by a name or an instance."""
    return f"{Ref(name[0], tuple(map(fixed, name[1:]))) if isinstance(name, tuple) else name}~"

"""What an operation is: one record, made by `define`.

This layer knows neither time, nor the batch, nor any array library. A derivative rule is itself an expression in
operations, so it can be printed, drawn and differentiated again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cached_property, wraps
from inspect import CO_VARARGS, Parameter, Signature
from keyword import iskeyword
from typing import Any, NoReturn, ParamSpec, TypeVar, cast

from .errors import DifferentiationError, DTypeError, ShapeError
from .hints import qualified
from .integers import integer
from .notebook import Run, run_of_cell
from .shapes import Family
from .symbolic import BATCH as BATCH
from .symbolic import OPERATIONS
from .symbolic import Array as Array
from .symbolic import Operand as Operand
from .symbolic import Symbolic as Symbolic

Rule = Callable[..., Any]
OPERANDS = {1: ("x",), 2: ("a", "b"), 3: ("a", "b", "c")}
"""What operands are called where an operation is shown, by their number."""
P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, eq=False)
class Op:
    """One operation: what its operands may be, the shape of its result, and a derivative per operand.

    name      as printed, and the key in `OPS`
    family    the shape rule and the test cases it shares with its kin
    vjp       one rule a (differentiable) operand, ``rule(g, y, *args, **attrs)`` -> its cotangent; ``None`` is zero
    kinds     operand kinds and result, ``"f,f->f"``: f float, i int, b bool, n any number (promoted), a anything
    draw      one (low, high) per operand from which tests sample; one pair serves all
    analytic  False where the complex step does not apply (comparisons, abs)
    notation  how it prints, where that is not ``name(args)``
    compute   an array function ``(xp, *arrays, **attrs)`` for operations added by a user
    body      the same operation as an expression in other operations
    key       what equations call it: its name, and a number where it took the place of an earlier one
    run       of a cell of a notebook, in which it was defined
    """

    name: str
    family: Family
    vjp: tuple[Rule | None, ...]
    kinds: str = "f->f"
    draw: tuple[tuple[float, float], ...] = ((-2.0, 2.0),)
    analytic: bool = True
    notation: Notation | None = None
    compute: Callable[..., Any] | None = None
    body: Callable[..., Any] | None = None
    doc: str = field(default="", repr=False)
    key: str = field(default="", repr=False)
    run: Run | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if not self.key:
            object.__setattr__(self, "key", self.name)
        if self.doc:
            object.__setattr__(self, "__doc__", self.doc)
        object.__setattr__(self, "__name__", self.name)
        names = ("condition", "a", "b") if self.name == "where" else OPERANDS.get(len(self.vjp), ())
        names = () if "*" in self.kinds else names
        if names:  # what `help` and an editor show
            known = [Parameter(n, Parameter.POSITIONAL_ONLY) for n in names]
            object.__setattr__(self, "__signature__", Signature(known))

    def __call__(self, *args: Operand, **attrs: object) -> Symbolic:
        if attrs and self.family.name == "elementwise" and self.compute is None and self.body is None:
            raise TypeError(f"{qualified(self.name)} takes no {next(iter(attrs))}=")
        return first_symbol(self.name, args).__op__(self, args, {name: _plain(v) for name, v in attrs.items()})

    def __repr__(self) -> str:
        return f"<op {self.name}>"

    @cached_property
    def letters(self) -> tuple[str, ...]:
        """The kind letter of each operand; of those of which there may be any number, the one letter and ``*``."""
        return tuple(self.kinds.split("->")[0].split(","))

    def operand_kinds(self, count: int) -> tuple[str, ...]:
        """The kind letter of each of `count` operands; a trailing ``*`` repeats."""
        return (self.letters[0][:1],) * count if self.letters[-1].endswith("*") else self.letters

    def rule(self, position: int) -> Rule | None:
        """The derivative rule of one operand; variadic operations share one rule, which gets `position`."""
        if self.operand_kinds(position + 1)[min(position, len(self.vjp) - 1)] in "ib" and len(self.vjp) > position:
            return None
        if self.letters[-1].endswith("*"):
            shared = self.vjp[0]
            return None if shared is None else lambda g, y, *args, **attrs: shared(position, g, y, *args, **attrs)
        return self.vjp[position]


class Unary(Op):
    """How a type checker and an editor see an operation of one operand."""

    def __call__(self, x: Operand) -> Symbolic: ...  # type: ignore[override,empty-body]


class Binary(Op):
    """How a type checker and an editor see an operation of two operands."""

    def __call__(self, a: Operand, b: Operand) -> Symbolic: ...  # type: ignore[override,empty-body]


class Ternary(Op):
    """How a type checker and an editor see a choice between two operands."""

    def __call__(self, condition: Operand, a: Operand, b: Operand) -> Symbolic: ...  # type: ignore[override,empty-body]


OPS = cast("dict[str, Op]", OPERATIONS)
"""Every operation by name: the closed table that templates, backends and tests read."""

REDEFINED: dict[str, Op] = {}
"""Operations of one name that were defined one after the other, by key: what was written before keeps its own."""


def called(key: str) -> Op:
    """The operation that an equation calls so. Raises KeyError where there is none."""
    return REDEFINED[key] if key in REDEFINED else OPS[key]


_acting_for: ContextVar[Symbolic | None] = ContextVar("_acting_for", default=None)


@contextmanager
def acting_for(symbol: Symbolic) -> Iterator[None]:
    """Within it, an operation on numbers alone is one like any other, where `symbol` belongs.

    So a function of expressions (a composite, a body, a derivative rule) may be given a number for any of them.
    """
    token = _acting_for.set(symbol)
    try:
        yield
    finally:
        _acting_for.reset(token)


def _plain(value: object) -> object:
    """What an operation is told besides its operands, with Python's integers."""
    if isinstance(value, tuple):
        return tuple(map(_plain, value))
    number = integer(value)
    return value if number is None else number


def first_symbol(name: str, args: Sequence[object]) -> Symbolic:
    """The first symbolic operand, or the one that is acted for. Raises TypeError where there is none."""
    for arg in (*args, _acting_for.get()):
        if isinstance(arg, Symbolic):
            return arg
    got = ", ".join(type(a).__name__ for a in args) or "nothing"
    raise TypeError(
        f"{qualified(name)} builds an equation and needs at least one symbolic operand; it got {got}. "
        "To compute on arrays, call the array library itself"
    )


def placed(function: Callable[P, R]) -> Callable[P, R]:
    """Have a function from expressions refuse what holds none, and show the user's line in what it complains about."""

    @wraps(function)
    def call(*args: P.args, **attrs: P.kwargs) -> R:
        listed = args[0] if args and isinstance(args[0], (list, tuple)) else args
        symbol = first_symbol(function.__name__, [*listed, *attrs.values()])
        try:
            with acting_for(symbol):
                return function(*args, **attrs)
        except (ShapeError, DTypeError) as error:
            raise symbol.__place__(error) from None

    return call


@dataclass(frozen=True)
class Notation:
    """Infix or prefix printing: a template with ``{0}``, ``{1}`` and binding strengths as in Python."""

    text: str
    strength: int
    operands: tuple[int, ...]

    @cached_property
    def signs(self) -> tuple[str, ...]:
        """What stands before each operand, and behind the last."""
        found, rest = [], self.text
        for position in range(len(self.operands)):
            before, _, rest = rest.partition(f"{{{position}}}")
            found.append(before)
        return (*found, rest)


def infix(symbol: str, strength: int) -> Notation:
    """``a symbol b``, associating to the left."""
    return Notation(f"{{0}} {symbol} {{1}}", strength, (strength, strength + 1))


def _check_rules(name: str, rules: Iterable[Rule | None], operands: int) -> None:
    """Raises ValueError for a rule that takes fewer than g, y and the operands."""
    for rule in rules:
        code = getattr(rule, "__code__", None)  # `inspect.signature` would be felt in every import
        if code is not None and not code.co_flags & CO_VARARGS and code.co_argcount < 2 + operands:
            takes = ", ".join(["g", "y", *("abcdef"[:operands] if operands > 1 else "x")])
            what = "takes the cotangent of the result, the result and the operands"
            raise ValueError(
                f"operation {name!r}: a rule {what}, lambda {takes}: ...; one takes "
                f"({', '.join(code.co_varnames[: code.co_argcount])})"
            )


def define(
    name: str,
    family: Family,
    *vjp: Rule | None,
    kinds: str | None = None,
    draw: Iterable[tuple[float, float]] = ((-2.0, 2.0),),
    analytic: bool = True,
    notation: Notation | None = None,
    compute: Callable[..., Any] | None = None,
    body: Callable[..., Any] | None = None,
    doc: str = "",
) -> Op:
    """Add an operation; the same call serves this package and its users.

    `vjp` holds one rule for each operand: an expression in operations for its cotangent, from the cotangent `g` of
    the result, the result `y` and the operands. Broadcasting, the batch and time never appear in a rule. ``None``
    says that the derivative is zero; `undefined` says that asking for it is an error.

    An operation of your own also says what it computes: either `body`, an expression in other operations, which draws
    nothing, or `compute`, a function of an array namespace and arrays whose per-example axes come last.

    A cell of a notebook that is run again may define an operation again: equations written before, and nets compiled
    before, keep the one that they have.

    Raises ValueError where the name is taken or the rules do not match the operands.

    >>> from unroll import ops
    >>> cube = ops.define("cube", ops.elementwise, lambda g, y, x: 3 * g * x * x, body=lambda x: x * x * x)
    >>> ops.OPS["cube"] is cube
    True
    >>> del ops.OPS["cube"]
    """
    run, known = run_of_cell(), OPS.get(name)
    if known is not None and not (run is not None and run.repeats(known.run)):
        again = "" if run is None else ", or run the cell again that defined it"
        raise ValueError(f"operation {name!r} is defined already; choose another name{again}")
    if not name.isidentifier() or iskeyword(name):
        raise ValueError(f"an operation's name is an identifier; got {name!r}")
    if not isinstance(family, Family):
        raise ValueError(f"operation {name!r}: a family such as ops.elementwise says its shapes; got {family!r}")
    if not vjp:
        rule = "lambda g, y, x: ..., or None where the derivative is zero"
        raise ValueError(f"operation {name!r} has no derivative rules: give one for each operand, {rule}")
    if kinds is None:
        kinds = ",".join("f" * len(vjp)) + "->f"
    if not re.fullmatch(r"([finab](,[finab])*|[finab]\*)->[finab]", kinds):
        raise ValueError(
            f"operation {name!r}: kinds are letters of f, i, b, n, a as in 'f,i->f' or 'n*->n', got {kinds!r}"
        )
    operands = kinds.split("->")[0].split(",")
    if len(operands) != len(vjp):
        raise ValueError(f"operation {name!r} takes {len(operands)} operands but has {len(vjp)} derivative rules")
    _check_rules(name, vjp, len(operands))
    if known is not None:
        REDEFINED[known.key] = known
    key, number = name, 1
    while key in REDEFINED or (key in OPS and key != name):
        number += 1
        key = f"{name}__{number}"
    op = Op(name, family, tuple(vjp), kinds, tuple(draw), analytic, notation, compute, body, doc, key, run)
    if key != name:
        REDEFINED[key] = op
    OPS[name] = op
    return op


def composite(function: Callable[P, R]) -> Callable[P, R]:
    """Mark a function from expressions to an expression, so that a template prints its name and not its inside."""
    inner = placed(function)

    @wraps(function)
    def call(*args: P.args, **attrs: P.kwargs) -> R:
        result = inner(*args, **attrs)
        if isinstance(result, Symbolic):
            return cast(R, result.__label__(function.__name__, args, attrs))
        return result

    return call


def undefined(reason: str) -> Rule:
    """A derivative rule that raises `DifferentiationError` with `reason` when it is asked for."""

    def rule(*args: object, **attrs: object) -> NoReturn:
        raise DifferentiationError(reason)

    return rule

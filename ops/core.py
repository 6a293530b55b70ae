"""What an operation is: one record, made by `define`, and the symbols it can be applied to.

This layer knows neither time, nor the batch, nor any array library. A derivative rule is itself an expression in
operations, so it can be printed, drawn and differentiated again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import wraps
from keyword import iskeyword
from typing import Any

from .errors import DifferentiationError, DTypeError, ShapeError
from .shapes import Family, Shape

Attrs = Mapping[str, Any]
Rule = Callable[..., Any]

OPS: dict[str, Op] = {}
"""Every operation by name: the closed table that templates, backends and tests read."""


class Symbolic:
    """Anything an operation can be applied to; subclasses say what applying means.

    A subclass has a per-example `shape`, a `dtype` that is one of ``"float"``, ``"int"`` and ``"bool"``, and the three
    hooks below.
    """

    __slots__ = ()

    def __array_ufunc__(self, ufunc: Any, method: str, *args: Any, **options: Any) -> Any:
        """``array * symbol`` is an expression; NumPy's own functions are refused."""
        op = OPS.get(UFUNCS.get(ufunc.__name__, ""))
        if op is None or method != "__call__" or options:
            raise self.__refuse__(_not_numpy(ufunc.__name__))
        return op(*args)

    def __array_function__(self, function: Any, types: Any, args: Any, options: Any) -> Any:
        """``np.dot(W, h[t])`` and its kin would treat a symbol as an object to multiply."""
        raise self.__refuse__(_not_numpy(function.__name__))

    def __array__(self, *args: Any, **options: Any) -> Any:
        raise self.__refuse__("is not an array: nothing has been computed yet")

    def __refuse__(self, text: str) -> Exception:
        """The error that says what this object is not for; a subclass adds its name and the user's line."""
        return TypeError(f"a symbolic value {text}")

    def __place__(self, error: Exception) -> Exception:
        """An error about operands, with the user's line where a subclass knows it."""
        return error

    def __getattr__(self, name: str) -> Any:
        if name in OPS:
            raise AttributeError(f"{self} has no method {name}; write ops.{name}({self})")
        raise AttributeError(name)

    @property
    def shape(self) -> Shape:
        raise AttributeError("shape")

    @property
    def dtype(self) -> str:
        raise AttributeError("dtype")

    def __op__(self, op: Op, args: Sequence[Any], attrs: Attrs) -> Any:
        """Apply `op`; at least one of `args` is this object, the others may be numbers or arrays."""
        raise TypeError(f"{type(self).__name__} cannot be used in an expression")

    def __over__(self, combine: str, over: Any) -> Any:
        """Combine ("sum" or "max") over one or several time axes."""
        raise TypeError(f"{type(self).__name__} has no time axes")

    def __extent__(self, over: Any) -> Any:
        """The number of steps of the given time axes, as a symbol."""
        raise TypeError(f"{type(self).__name__} has no time axes")

    def __noise__(self, kind: str, operands: Sequence[Any], over: Any, rate: float = 0.0) -> Any:
        """Random numbers of the shape that the operands broadcast to: see `ops.random`."""
        raise TypeError(f"{type(self).__name__} cannot be drawn from")

    def __label__(self, name: str, args: Sequence[Any], attrs: Attrs) -> Any:
        """Remember that this is ``name(*args, **attrs)``, for printing; returns the symbol."""
        return self

    @property
    def ndim(self) -> int:
        """Number of per-example axes."""
        return len(self.shape)

    @property
    def T(self) -> Any:
        """The transpose (axes reversed)."""
        return OPS["transpose"](self)

    def __add__(self, other: Any) -> Any:
        return OPS["add"](self, other)

    def __radd__(self, other: Any) -> Any:
        return OPS["add"](other, self)

    def __sub__(self, other: Any) -> Any:
        return OPS["sub"](self, other)

    def __rsub__(self, other: Any) -> Any:
        return OPS["sub"](other, self)

    def __mul__(self, other: Any) -> Any:
        return OPS["mul"](self, other)

    def __rmul__(self, other: Any) -> Any:
        return OPS["mul"](other, self)

    def __truediv__(self, other: Any) -> Any:
        return OPS["div"](self, other)

    def __rtruediv__(self, other: Any) -> Any:
        return OPS["div"](other, self)

    def __pow__(self, other: Any) -> Any:
        return OPS["pow"](self, other)

    def __rpow__(self, other: Any) -> Any:
        return OPS["pow"](other, self)

    def __matmul__(self, other: Any) -> Any:
        return OPS["matmul"](self, other)

    def __rmatmul__(self, other: Any) -> Any:
        return OPS["matmul"](other, self)

    def __neg__(self) -> Any:
        return OPS["neg"](self)

    def __abs__(self) -> Any:
        return OPS["abs"](self)

    def __gt__(self, other: Any) -> Any:
        return OPS["greater"](self, other)

    def __ge__(self, other: Any) -> Any:
        return OPS["greater_equal"](self, other)

    def __lt__(self, other: Any) -> Any:
        return OPS["less"](self, other)

    def __le__(self, other: Any) -> Any:
        return OPS["less_equal"](self, other)

    def __and__(self, other: Any) -> Any:
        return OPS["logical_and"](self, other)

    def __or__(self, other: Any) -> Any:
        return OPS["logical_or"](self, other)

    def __invert__(self) -> Any:
        return OPS["logical_not"](self)

    def __bool__(self) -> bool:
        raise self.__refuse__(
            "is neither true nor false: nothing has been computed yet. "
            "Choose between two expressions with ops.where(condition, a, b); combine conditions with & and |"
        )

    def __iter__(self) -> Any:
        raise self.__refuse__("cannot be iterated over; take parts of it with slices, e[0:3]")


UFUNCS = {
    "add": "add", "subtract": "sub", "multiply": "mul", "divide": "div", "power": "pow", "matmul": "matmul",
    "greater": "greater", "greater_equal": "greater_equal", "less": "less", "less_equal": "less_equal",
    "bitwise_and": "logical_and", "bitwise_or": "logical_or",
}  # fmt: skip
"""What Python's operators are called where an array stands on the left."""


def _not_numpy(name: str) -> str:
    own = {"concatenate": "concat", "absolute": "abs", "power": "power"}.get(name, name)
    return f"is not an array: np.{name} computes at once, and an equation takes ops.{own} or its kin"


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

    def __post_init__(self) -> None:
        if self.doc:
            object.__setattr__(self, "__doc__", self.doc)
        object.__setattr__(self, "__name__", self.name)

    def __call__(self, *args: Any, **attrs: Any) -> Any:
        if attrs and self.family.name == "elementwise" and self.compute is None and self.body is None:
            raise TypeError(f"ops.{self.name} takes no {next(iter(attrs))}=")
        return first_symbol(self.name, args).__op__(self, args, attrs)

    def __repr__(self) -> str:
        return f"<op {self.name}>"

    def operand_kinds(self, count: int) -> tuple[str, ...]:
        """The kind letter of each of `count` operands; a trailing ``*`` repeats."""
        letters = self.kinds.split("->")[0].split(",")
        if letters[-1].endswith("*"):
            letters = [letters[0][:1]] * count
        return tuple(letters)

    def rule(self, position: int) -> Rule | None:
        """The derivative rule of one operand; variadic operations share one rule, which gets `position`."""
        if self.operand_kinds(position + 1)[min(position, len(self.vjp) - 1)] in "ib" and len(self.vjp) > position:
            return None
        if self.kinds.split("->")[0].endswith("*"):
            shared = self.vjp[0]
            return None if shared is None else lambda g, y, *args, **attrs: shared(position, g, y, *args, **attrs)
        return self.vjp[position]


def first_symbol(name: str, args: Sequence[Any]) -> Symbolic:
    """The first symbolic operand. Raises TypeError where there is none."""
    for arg in args:
        if isinstance(arg, Symbolic):
            return arg
    got = ", ".join(type(a).__name__ for a in args) or "nothing"
    raise TypeError(
        f"ops.{name} builds an equation and needs at least one symbolic operand; it got {got}. "
        "To compute on arrays, call the array library itself"
    )


def placed(function: Callable[..., Any]) -> Callable[..., Any]:
    """Have a function from expressions refuse what holds none, and show the user's line in what it complains about."""

    @wraps(function)
    def call(*args: Any, **attrs: Any) -> Any:
        listed = args[0] if args and isinstance(args[0], (list, tuple)) else args
        symbol = first_symbol(function.__name__, [*listed, *attrs.values()])
        try:
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


def infix(symbol: str, strength: int) -> Notation:
    """``a symbol b``, associating to the left."""
    return Notation(f"{{0}} {symbol} {{1}}", strength, (strength, strength + 1))


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

    An operation of your own also says what it computes: either `body`, an expression in other operations, or
    `compute`, a function of an array namespace and arrays whose per-example axes come last.

    Raises ValueError where the name is taken or the rules do not match the operands.

    >>> from unroll import ops
    >>> cube = ops.define("cube", ops.elementwise, lambda g, y, x: 3 * g * x * x, body=lambda x: x * x * x)
    >>> ops.OPS["cube"] is cube
    True
    >>> del ops.OPS["cube"]
    """
    if name in OPS:
        raise ValueError(f"operation {name!r} is defined already; choose another name")
    if not name.isidentifier() or iskeyword(name):
        raise ValueError(f"an operation's name is an identifier; got {name!r}")
    if kinds is None:
        kinds = ",".join("f" * len(vjp)) + "->f"
    if not re.fullmatch(r"([finab](,[finab])*|[finab]\*)->[finab]", kinds):
        raise ValueError(
            f"operation {name!r}: kinds are letters of f, i, b, n, a as in 'f,i->f' or 'n*->n', got {kinds!r}"
        )
    operands = kinds.split("->")[0].split(",")
    if len(operands) != len(vjp):
        raise ValueError(f"operation {name!r} takes {len(operands)} operands but has {len(vjp)} derivative rules")
    op = Op(name, family, tuple(vjp), kinds, tuple(draw), analytic, notation, compute, body, doc)
    OPS[name] = op
    return op


def composite(function: Callable[..., Any]) -> Callable[..., Any]:
    """Mark a function from expressions to an expression, so that a template prints its name and not its inside."""
    inner = placed(function)

    @wraps(function)
    def call(*args: Any, **attrs: Any) -> Any:
        result = inner(*args, **attrs)
        return result.__label__(function.__name__, args, attrs) if isinstance(result, Symbolic) else result

    return call


def undefined(reason: str) -> Rule:
    """A derivative rule that raises `DifferentiationError` with `reason` when it is asked for."""

    def rule(g: Any, y: Any, *args: Any, **attrs: Any) -> Any:
        raise DifferentiationError(reason)

    return rule


KIND_OF = {"f": "float", "i": "int", "b": "bool"}


def result_kind(op: Op, kinds: Sequence[str], weak: Sequence[bool]) -> tuple[str, tuple[str, ...]]:
    """The kind of the result, and the kind each operand is to be cast to.

    `kinds` are the operands' kinds; `weak` marks Python numbers, which take the kind of what they meet.
    Raises DTypeError, naming the operand by position.
    """
    letters = op.operand_kinds(len(kinds))
    if len(letters) != len(kinds):
        raise DTypeError(f"{op.name} takes {len(letters)} operands, got {len(kinds)}")
    strong = [k for k, w, c in zip(kinds, weak, letters, strict=True) if c == "n" and not w]
    every = [k for k, c in zip(kinds, letters, strict=True) if c in "na"]
    number = "int" if set(every) == {"int"} else "float"  # a bool in arithmetic is 0.0 or 1.0
    if "float" in strong:
        number = "float"
    same = next((k for k, w, c in zip(kinds, weak, letters, strict=True) if c == "a" and not w), "float")
    cast = []
    for position, (kind, soft, letter) in enumerate(zip(kinds, weak, letters, strict=True)):
        want = {"n": number, "a": same}.get(letter) or KIND_OF[letter]
        fits = letter == "n" or kind == want or (soft and want == "float")
        if not fits:
            raise DTypeError(f"operand {position + 1} of {op.name} must be {want}, and is {kind}")
        cast.append(want)
    result = op.kinds.split("->")[1]
    return {"n": number, "a": same}.get(result) or KIND_OF[result], tuple(cast)

"""The symbols that operations are applied to, and what they say to libraries that would compute with them at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NoReturn, Protocol

from .hints import hint, instead
from .shapes import Shape

Attrs = Mapping[str, object]


class Array(Protocol):
    """An array of any library: a constant where it stands in an equation."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> Any: ...

    def __add__(self, other: object, /) -> Any: ...

    def __radd__(self, other: object, /) -> Any: ...

    def __sub__(self, other: object, /) -> Any: ...

    def __rsub__(self, other: object, /) -> Any: ...

    def __mul__(self, other: object, /) -> Any: ...

    def __rmul__(self, other: object, /) -> Any: ...

    def __truediv__(self, other: object, /) -> Any: ...

    def __rtruediv__(self, other: object, /) -> Any: ...

    def __pow__(self, other: object, /) -> Any: ...

    def __rpow__(self, other: object, /) -> Any: ...

    def __gt__(self, other: object, /) -> Any: ...

    def __lt__(self, other: object, /) -> Any: ...

    def __ge__(self, other: object, /) -> Any: ...

    def __le__(self, other: object, /) -> Any: ...

    def __neg__(self) -> Any: ...


class Examples:
    """What stands for the examples of a batch where a reduction takes time axes."""

    def __repr__(self) -> str:
        return "BATCH"


BATCH = Examples()


class Applied(Protocol):
    """What a symbol knows of an operation: that it can be applied. `core.Op` is one."""

    def __call__(self, *args: Operand, **attrs: object) -> Symbolic: ...


OPERATIONS: dict[str, Applied] = {}
"""Every operation by name; `core.OPS` is this table, typed."""


class Symbolic:
    """Anything an operation can be applied to; subclasses say what applying means.

    A subclass has a per-example `shape`, a `dtype` that is one of ``"float"``, ``"int"`` and ``"bool"``, and the three
    hooks below.
    """

    __slots__ = ()

    def __array_ufunc__(self, ufunc: Any, method: str, *args: Any, **options: Any) -> Any:
        """``array * symbol`` is an expression; NumPy's own functions are refused."""
        op = OPERATIONS.get(UFUNCS.get(ufunc.__name__, ""))
        if op is None or method != "__call__" or options:
            raise self.__refuse__(self._not_numpy(ufunc.__name__))
        return op(*args)

    def __array_function__(
        self, function: Callable[..., object], types: object, args: Sequence[object], options: object
    ) -> Any:
        """``np.dot(W, h[t])`` and its kin would treat a symbol as an object to multiply."""
        raise self.__refuse__(self._not_numpy(function.__name__))

    def _not_numpy(self, name: str) -> str:
        own = instead(name, self.__written__()) or "operations of unroll.ops"
        return f"is not an array: np.{name} computes at once, and an equation takes {own}"

    def __written__(self) -> str:
        """How an equation reads this value."""
        return str(self)

    def __array__(self, *args: object, **options: object) -> NoReturn:
        raise self.__refuse__(
            "is not an array: nothing has been computed yet. Arrays stand in an equation as they are, "
            "a sparse matrix as its .toarray()"
        )

    @classmethod
    def __torch_function__(
        cls,
        function: Callable[..., object],
        types: object,
        args: Sequence[object] = (),
        options: Mapping[str, object] | None = None,
    ) -> NoReturn:
        """``torch.tanh(h[t])``, and operators with a tensor on the left."""
        name = getattr(function, "__name__", "a function").strip("_")
        symbol = next(s for s in _flat([*args, *(options or {}).values()]) if isinstance(s, Symbolic))
        own = instead(name, symbol.__written__()) or "operations of unroll.ops"
        raise symbol.__refuse__(
            f"is not a tensor: torch.{name} computes at once, and an equation takes {own}; in place of a tensor it "
            "takes a param, or an array, tensor.detach().numpy()"
        )

    def __jax_array__(self) -> NoReturn:
        raise self.__refuse__("is not an array: JAX computes at once, and an equation takes operations of unroll.ops")

    def _no_number(self, *_: object) -> NoReturn:
        """``math.exp(h[t])``, ``float(h[t])``, ``range(n[t])``."""
        raise self.__refuse__(
            "is not a number: nothing has been computed yet. math's functions compute at once, and an equation takes "
            "ops.exp, ops.sqrt and the like"
        )

    __float__ = __int__ = __complex__ = __index__ = __trunc__ = _no_number

    def __len__(self) -> NoReturn:
        raise self.__refuse__("has no length: its shape says how large the value of a step is, and over=t runs along t")

    def __refuse__(self, text: str) -> Exception:
        """The error that says what this object is not for; a subclass adds its name and the user's line."""
        return TypeError(f"a symbolic value {text}")

    def __place__(self, error: Exception) -> Exception:
        """An error about operands, with the user's line where a subclass knows it."""
        return error

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("_") and hint(name, ""):
            shown = self.__written__()
            raise AttributeError(f"{shown} has no {name}; {hint(name, shown)}")
        raise AttributeError(f"an expression has no {name!r}")

    @property
    def shape(self) -> Shape:
        raise AttributeError("shape")

    @property
    def dtype(self) -> str:
        raise AttributeError("dtype")

    def __op__(self, op: Any, args: Sequence[Operand], attrs: Attrs) -> Symbolic:
        """Apply `op`; at least one of `args` is this object, the others may be numbers or arrays."""
        raise TypeError(f"{type(self).__name__} cannot be used in an expression")

    def __over__(self, combine: str, over: object) -> Symbolic:
        """Combine ("sum" or "max") over one or several time axes; "sum" over the `BATCH` also."""
        raise TypeError(f"{type(self).__name__} has no time axes")

    def __extent__(self, over: object) -> Symbolic:
        """The number of steps of the given time axes, or of examples of the `BATCH` that have the step, as a symbol."""
        raise TypeError(f"{type(self).__name__} has no time axes")

    def __noise__(self, kind: str, operands: Sequence[Operand], over: object, rate: float = 0.0) -> Symbolic:
        """Random numbers of the shape that the operands broadcast to: see `ops.random`."""
        raise TypeError(f"{type(self).__name__} cannot be drawn from")

    def __label__(self, name: str, args: Sequence[object], attrs: Attrs) -> Symbolic:
        """Remember that this is ``name(*args, **attrs)``, for printing; returns the symbol."""
        return self

    @property
    def ndim(self) -> int:
        """Number of per-example axes."""
        return len(self.shape)

    @property
    def T(self) -> Symbolic:
        """The transpose (axes reversed)."""
        return OPERATIONS["transpose"](self)

    def __add__(self, other: Operand) -> Symbolic:
        return OPERATIONS["add"](self, other)

    def __radd__(self, other: Operand) -> Symbolic:
        return OPERATIONS["add"](other, self)

    def __sub__(self, other: Operand) -> Symbolic:
        return OPERATIONS["sub"](self, other)

    def __rsub__(self, other: Operand) -> Symbolic:
        return OPERATIONS["sub"](other, self)

    def __mul__(self, other: Operand) -> Symbolic:
        return OPERATIONS["mul"](self, other)

    def __rmul__(self, other: Operand) -> Symbolic:
        return OPERATIONS["mul"](other, self)

    def __truediv__(self, other: Operand) -> Symbolic:
        return OPERATIONS["div"](self, other)

    def __rtruediv__(self, other: Operand) -> Symbolic:
        return OPERATIONS["div"](other, self)

    def __pow__(self, other: Operand) -> Symbolic:
        return OPERATIONS["pow"](self, other)

    def __rpow__(self, other: Operand) -> Symbolic:
        return OPERATIONS["pow"](other, self)

    def __floordiv__(self, other: Operand) -> Symbolic:
        return OPERATIONS["floor_divide"](self, other)

    def __rfloordiv__(self, other: Operand) -> Symbolic:
        return OPERATIONS["floor_divide"](other, self)

    def __mod__(self, other: Operand) -> Symbolic:
        return OPERATIONS["remainder"](self, other)

    def __rmod__(self, other: Operand) -> Symbolic:
        return OPERATIONS["remainder"](other, self)

    def __divmod__(self, other: Operand) -> tuple[Symbolic, Symbolic]:
        return self // other, self % other

    def __rdivmod__(self, other: Operand) -> tuple[Symbolic, Symbolic]:
        return self.__rfloordiv__(other), self.__rmod__(other)

    def __matmul__(self, other: Operand) -> Symbolic:
        return OPERATIONS["matmul"](self, other)

    def __rmatmul__(self, other: Operand) -> Symbolic:
        return OPERATIONS["matmul"](other, self)

    def __pos__(self) -> Symbolic:
        return self

    def __neg__(self) -> Symbolic:
        return OPERATIONS["neg"](self)

    def __abs__(self) -> Symbolic:
        return OPERATIONS["abs"](self)

    def __round__(self, decimals: int | None = None) -> Symbolic:
        if not decimals:
            return OPERATIONS["round"](self)
        scale: float = 10 ** abs(decimals)
        if decimals > 0:
            return OPERATIONS["round"](self * scale) / scale
        return OPERATIONS["round"](self / scale) * scale

    def __floor__(self) -> Symbolic:
        return OPERATIONS["floor"](self)

    def __ceil__(self) -> Symbolic:
        return -OPERATIONS["floor"](-self)

    def __gt__(self, other: Operand) -> Symbolic:
        return OPERATIONS["greater"](self, other)

    def __ge__(self, other: Operand) -> Symbolic:
        return OPERATIONS["greater_equal"](self, other)

    def __lt__(self, other: Operand) -> Symbolic:
        return OPERATIONS["less"](self, other)

    def __le__(self, other: Operand) -> Symbolic:
        return OPERATIONS["less_equal"](self, other)

    def __and__(self, other: Operand) -> Symbolic:
        return OPERATIONS["logical_and"](self, other)

    def __or__(self, other: Operand) -> Symbolic:
        return OPERATIONS["logical_or"](self, other)

    def __invert__(self) -> Symbolic:
        return OPERATIONS["logical_not"](self)

    def __getitem__(self, key: object) -> Symbolic:
        raise self.__refuse__("has no parts")

    def __bool__(self) -> NoReturn:
        raise self.__refuse__(
            "is neither true nor false: nothing has been computed yet. "
            "Choose between two expressions with ops.where(condition, a, b); combine conditions with & and |. "
            "A chain such as 0 < x[t] < 1 is two conditions: (0 < x[t]) & (x[t] < 1)"
        )

    def __iter__(self) -> NoReturn:
        raise self.__refuse__("cannot be iterated over; take parts of it with slices, e[0:3]")


Operand = Symbolic | float | Array
"""What an operation takes: a symbol, a number, an array."""


def _flat(values: Iterable[Any]) -> Iterator[Any]:
    """What lists and tuples among the values hold, too."""
    for value in values:
        if isinstance(value, (list, tuple)):
            yield from _flat(value)
        else:
            yield value


UFUNCS = {
    "add": "add", "subtract": "sub", "multiply": "mul", "divide": "div", "power": "pow", "matmul": "matmul",
    "floor_divide": "floor_divide", "remainder": "remainder",
    "greater": "greater", "greater_equal": "greater_equal", "less": "less", "less_equal": "less_equal",
    "bitwise_and": "logical_and", "bitwise_or": "logical_or",
}  # fmt: skip
"""What Python's operators are called where an array stands on the left."""

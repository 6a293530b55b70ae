"""How params begin: named initialisers, seeded, the same seed giving the same bits.

The one place below the backends that uses NumPy: initial values are drawn on the host, in float64, and are then cast.
"""

from __future__ import annotations

import hashlib
import math
import pickle
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import ShapeError, TemplateError, here, message
from ..ir.details import Initial
from ..ir.system import Decl, System
from ..ops.integers import integer
from ..types import Array

if TYPE_CHECKING:
    import numpy as np  # imported in the functions below: it would be half of the time of `import unroll`

Shape = tuple[int, ...]
Initializer = Callable[["np.random.Generator", Shape], Any]


def _fans(shape: Shape) -> tuple[int, int]:
    """(fan-in, fan-out): a matrix maps its last axis to its first, as in ``W @ x``."""
    if len(shape) < 2:
        return (shape[0] if shape else 1,) * 2
    rest = math.prod(shape[2:])
    return shape[1] * rest, shape[0] * rest


def _glorot(rng: np.random.Generator, shape: Shape) -> Array:
    limit = math.sqrt(6.0 / sum(_fans(shape)))
    return rng.uniform(-limit, limit, shape)


def _he(rng: np.random.Generator, shape: Shape) -> Array:
    return rng.normal(0.0, math.sqrt(2.0 / _fans(shape)[0]), shape)


def _orthogonal(rng: np.random.Generator, shape: Shape) -> Array:
    import numpy as np

    rows, columns = shape
    q, r = np.linalg.qr(rng.normal(size=(max(shape), min(shape))))
    q = q * np.sign(np.diagonal(r))
    return q if rows >= columns else q.T


@dataclass(frozen=True, eq=False)
class _Constant:
    value: Any

    def __call__(self, rng: np.random.Generator, shape: Shape) -> Array:
        import numpy as np

        return np.broadcast_to(self.value, shape)


@dataclass(frozen=True)
class _Uniform:
    low: float
    high: float

    def __call__(self, rng: np.random.Generator, shape: Shape) -> Array:
        return rng.uniform(self.low, self.high, shape)


@dataclass(frozen=True)
class _Normal:
    std: float
    mean: float

    def __call__(self, rng: np.random.Generator, shape: Shape) -> Array:
        return rng.normal(self.mean, self.std, shape)


def constant(value: Array) -> Initializer:
    """Every element equal to a number, or the elements of an array of the param's shape."""
    return _Constant(value)


def uniform(low: float, high: float) -> Initializer:
    """Uniform between two bounds."""
    return _Uniform(low, high)


def normal(std: float, mean: float = 0.0) -> Initializer:
    """Normal with a standard deviation."""
    return _Normal(std, mean)


NAMED: dict[str, Initializer] = {
    "zeros": constant(0.0),
    "ones": constant(1.0),
    "uniform": uniform(-0.1, 0.1),
    "normal": normal(0.01),
    "glorot": _glorot,
    "he": _he,
    "orthogonal": _orthogonal,
}
"""Glorot and Bengio 2010 (uniform), He et al. 2015 (normal), Saxe et al. 2014 (orthogonal)."""


def check_picklable(decls: Iterable[Decl]) -> None:
    """Raises TemplateError for a param whose initialiser is a function that no other process could find."""
    for decl in decls:
        if isinstance(decl.detail, Initial) and not isinstance(decl.detail.draw, (_Constant, _Uniform, _Normal)):
            try:
                pickle.dumps(decl.detail.draw)
            except Exception as error:  # noqa: BLE001 - of any kind: it is the user's object
                what = f"param {decl.name} begins with a function that cannot be pickled: {error}"
                fix = "Define it with def at the top of a module, or give an array or one of unroll.initializers."
                raise TemplateError(message(what, decl.source, fix=fix)) from None


def initializer(init: object, shape: Shape, name: str = "") -> Initializer:
    """What ``init=`` of a param means. Raises TemplateError, ShapeError."""
    if init is None:
        return NAMED["glorot" if len(shape) >= 2 else "zeros"]
    if isinstance(init, str):
        if init not in NAMED:
            raise TemplateError(message(f"init={init!r} is unknown", here(), fix=f"Known: {', '.join(NAMED)}."))
        if init == "orthogonal" and len(shape) != 2:
            raise ShapeError(message(f'init="orthogonal" needs a matrix, got shape {shape}', here()))
        return NAMED[init]
    if callable(init):
        return init
    import numpy as np

    try:
        value = np.asarray(init, dtype=float).copy()
    except (TypeError, ValueError, RuntimeError) as error:
        known = ", ".join(f'"{n}"' for n in NAMED)
        shown = f"a {type(init).__name__} ({error})" if hasattr(init, "shape") else repr(init)
        raise TemplateError(
            message(
                f"init of {name} holds no numbers: {shown.partition(chr(10))[0]}",
                here(),
                fix=f"A number, an array of shape {shape}, a function (rng, shape) -> array, or one of {known}.",
            )
        ) from None
    if value.shape not in ((), shape):
        raise ShapeError(message(f"init of {name} has shape {value.shape}, the param has {shape}", here()))
    return constant(value)


def initial(system: System, seed: int | np.random.Generator, dtype: str) -> Mapping[str, Any]:
    """The initial params of a system.

    With an int, each param draws from a stream of its own, made of the seed and its name: adding a param changes no
    other. With a Generator they draw from it in order of declaration.
    """
    import numpy as np

    params = {}
    for name, decl in system.decls.items():
        if decl.kind != "param":
            continue
        assert isinstance(decl.detail, Initial), f"{name} has no first value"
        value = np.asarray(decl.detail.draw(generator(seed, name), decl.shape))
        if value.dtype.kind not in ("fiubc" if dtype.startswith("complex") else "fiub"):
            raise ShapeError(
                f"the initialiser of {name} made {value.dtype}; numbers of shape {decl.shape} were expected"
            )
        if value.shape != decl.shape:
            raise ShapeError(f"the initialiser of {name} made shape {value.shape}; {name} has {decl.shape}")
        with np.errstate(under="ignore"):  # what is too small is zero
            params[name] = np.array(value, dtype=dtype, order="C")
    return params


def quiet() -> AbstractContextManager[Any]:
    """Where NumPy's arrays may be computed with: overflows and the like are in the results, and no error."""
    import numpy as np

    return np.errstate(all="ignore")


def generator(seed: int | np.random.Generator, name: str) -> np.random.Generator:
    """The generator itself, or for an int a stream made of it and a name. Raises TemplateError."""
    import numpy as np

    if isinstance(seed, np.random.Generator):
        return seed
    number = integer(seed)
    if number is None or number < 0:
        raise TemplateError(f"seed= takes an integer from 0 up or a numpy.random.Generator, got {seed!r}")
    text = f"{number} {name}".encode("utf-8", "surrogatepass")  # no two pairs of a seed and a name have one text
    return np.random.default_rng(int.from_bytes(hashlib.sha256(text).digest(), "big"))

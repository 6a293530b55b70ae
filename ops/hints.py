"""What to write in an equation in place of a method or a function of NumPy's, PyTorch's or JAX's."""

from __future__ import annotations

PUBLIC: set[str] = set()
"""The names in `unroll.ops`, which fills this when all of them are there."""

LONGEST = 60
"""Characters of a value that a hint repeats."""

INSTEAD = {
    "absolute": "abs({x})",
    "fabs": "abs({x})",
    "add": "{a} + ...",
    "sub": "{a} - ...",
    "subtract": "{a} - ...",
    "mul": "{a} * ...",
    "multiply": "{a} * ...",
    "div": "{a} / ...",
    "divide": "{a} / ...",
    "true_divide": "{a} / ...",
    "neg": "-{a}",
    "negative": "-{a}",
    "pow": "{a} ** ...",
    "square": "{a} ** 2",
    "mm": "{a} @ ...",
    "mv": "{a} @ ...",
    "greater": "{a} > ...",
    "gt": "{a} > ...",
    "greater_equal": "{a} >= ...",
    "ge": "{a} >= ...",
    "less": "{a} < ...",
    "lt": "{a} < ...",
    "less_equal": "{a} <= ...",
    "le": "{a} <= ...",
    "eq": "ops.equal({x}, ...)",
    "ne": "ops.not_equal({x}, ...)",
    "logical_and": "{a} & ...",
    "bitwise_and": "{a} & ...",
    "logical_or": "{a} | ...",
    "bitwise_or": "{a} | ...",
    "logical_not": "~{a}",
    "bitwise_not": "~{a}",
    "invert": "~{a}",
    "amax": "ops.max({x})",
    "amin": "ops.min({x})",
    "clamp": "ops.clip({x}, low, high)",
    "clip": "ops.clip({x}, low, high)",
    "fmax": "ops.maximum({x}, ...)",
    "fmin": "ops.minimum({x}, ...)",
    "cat": "ops.concat([{x}, ...])",
    "concatenate": "ops.concat([{x}, ...])",
    "hstack": "ops.concat([{x}, ...])",
    "concat": "ops.concat([{x}, ...])",
    "stack": "ops.stack([{x}, ...])",
    "vstack": "ops.stack([{x}, ...])",
    "astype": "ops.cast({x})",
    "float": "ops.cast({x})",
    "double": "ops.cast({x})",
    "reshape": "ops.reshape({x}, shape)",
    "view": "ops.reshape({x}, shape)",
    "squeeze": "ops.reshape({x}, shape)",
    "unsqueeze": "ops.reshape({x}, shape)",
    "expand_dims": "ops.reshape({x}, shape)",
    "flatten": "ops.reshape({x}, -1)",
    "ravel": "ops.reshape({x}, -1)",
    "permute": "ops.transpose({x}, axes)",
    "permute_dims": "ops.transpose({x}, axes)",
    "swapaxes": "ops.transpose({x}, axes)",
    "moveaxis": "ops.transpose({x}, axes)",
    "t": "{a}.T",
    "mT": "{a}.T",
    "expand": "ops.broadcast_to({x}, shape)",
    "tile": "ops.broadcast_to({x}, shape)",
    "gather": "ops.pick({x}, ...)",
    "index_select": "ops.take({x}, ...)",
    "detach": "ops.stop_gradient({x})",
    "stop_gradient": "ops.stop_gradient({x})",
}
"""By foreign name, what has another name here or takes more than the value itself; a is x in parentheses if need be."""

OTHERWISE = {
    **dict.fromkeys(("copy", "clone", "contiguous"), "nothing changes a value, so none needs a copy"),
    **dict.fromkeys(("to", "cpu", "cuda"), "dtype and device are chosen by g.compile(...)"),
    **dict.fromkeys(("item", "numpy", "tolist", "eval"), "net.run(params, ...) returns values"),
    **dict.fromkeys(("grad", "backward"), "net.value_and_grad(params, ...) returns gradients"),
    **dict.fromkeys(("size", "numel", "dim"), "{x}.shape and {x}.ndim are those of one step and example"),
}
"""By foreign name, what there is no equation for."""


def qualified(name: str) -> str:
    """An operation as it is called: ``ops.tanh``, and one that a user defined by its name alone."""
    return f"ops.{name}" if name in PUBLIC else name


def instead(name: str, x: str) -> str:
    """What to write in place of ``x.name()``, an expression; "" where there is nothing alike.

    x  how the value is written
    """
    x = x if len(x) <= LONGEST else "e"
    for known in (name, name.removesuffix("_")):
        if known in INSTEAD:
            return INSTEAD[known].format(x=x, a=f"({x})" if " " in x else x)
        if known in PUBLIC and not known[:1].isupper():
            return f"ops.{known}({x})"
    return ""


def hint(name: str, x: str) -> str:
    """A sentence that says so, or what to do where no equation does it; "" where there is nothing alike."""
    written = instead(name, x)
    return f"write {written}" if written else OTHERWISE.get(name, "").format(x=x)

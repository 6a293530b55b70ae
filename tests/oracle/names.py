"""Names that break code which writes code: words of Python, C, LLVM and the API, other alphabets, no words at all."""

from __future__ import annotations

import numpy as np

from .trees import System, renamed

PLAIN = ["x", "y", "h", "W", "c", "o", "E", "v", "alpha", "r"]
NASTY = [
    *("b", "batch", "i", "j", "k", "n", "m0", "m1", "v0", "a0", "p", "q", "out", "row", "step", "size", "index", "tmp"),
    *(
        "range",
        "max",
        "min",
        "sum",
        "abs",
        "len",
        "int",
        "float",
        "bool",
        "str",
        "list",
        "np",
        "numpy",
        "xp",
        "math",
        "self",
    ),
    *("lambda", "if", "for", "def", "class", "None", "True", "import", "return", "yield", "print", "exec", "__init__"),
    *(
        "double",
        "void",
        "goto",
        "define",
        "i32",
        "i64",
        "ptr",
        "label",
        "ret",
        "undef",
        "phi",
        "entry",
        "main",
        "restrict",
    ),
    *(
        "tangent",
        "seed",
        "loss",
        "lengths",
        "params",
        "names",
        "arrays",
        "clamp",
        "wrt",
        "of",
        "steps",
        "outputs",
        "noise",
    ),
    *(
        "T",
        "t",
        "S",
        "s",
        "U",
        "B",
        "place1",
        "noise1",
        "truncated",
        "valid",
        "mask",
        "input",
        "output",
        "state",
        "stop",
    ),
    *(
        "h[0]",
        "h[t]",
        "h[t-1]",
        "h^1",
        "h^0",
        "x~",
        "do(h)",
        "do(h[3])",
        "h.1",
        "h~",
        "h'",
        "h_1",
        "h__1",
        "1",
        "0x",
        "-x",
    ),
    *("α", "ℓ", "σ²", "ünïcode", "имя", "変数", "😀", "h😀", "é", "e\u0301", "\uff58", "ﬁ", "K", "\u212a", "µ", "μ"),
    *(
        "a b",
        " a",
        "a ",
        "a'b",
        'a"b',
        "a\nb",
        "a\tb",
        "\\",
        "a\\nb",
        "%",
        "%s",
        "{}",
        "{0}",
        "#",
        "a#b",
        "//",
        "/* */",
        ";",
    ),
    *(
        "",
        " ",
        "\u00a0",
        "\u200b",
        "_",
        "__",
        "$",
        "@",
        "@x",
        "!",
        "!x",
        "a,b",
        "a:b",
        "a=b",
        "a->b",
        "a+b",
        "(a)",
        "[a]",
        ".",
    ),
    *(
        "x" * 300,
        "é" * 90,
        "W.T",
        "W~",
        "x pack 0",
        "x.full",
        "t+1",
        "over",
        "axis",
        "e_1",
        "g",
        "net",
        "ops",
        "unroll",
    ),
]
AXES = ["s", "u", "n", "b", "i", "j", "k", "x", "h", "w", "batch", "lambda", "if", "for", "range", "max", "np", "seed"]
AXES += [
    "lengths",
    "params",
    "names",
    "wrt",
    "of",
    "loss",
    "self",
    "i32",
    "double",
    "tt",
    "st",
    "clamp",
    "in",
    "axis",
    "e",
]
TOLD = {
    "T",
    "S",
    "U",
    "clamp",
    "stop",
    "batch",
    "seed",
    "loss",
    "lengths",
    "x~",
    "h~",
    "W~",
    "h.1",
    "x.full",
    "W.T",
    ".",
    "",
}  # refused
REFUSED = (  # what the language says of names
    "is taken by the template itself",
    "is a text that can be seen",
    "is an argument of net.run",
)


def labelled(system: System, rng: np.random.Generator, nasty: float) -> System:
    """The system under other names; `nasty` is the share of names from the list."""
    if rng.random() > 0.2:
        return system
    pool = [NASTY[int(k)] for k in rng.permutation(len(NASTY))]
    names: dict[str, str] = {}
    free = set(system.decls) | {name for name, _ in system.outputs}
    taken = set(free)
    for name in sorted(free):
        new = pool.pop() if rng.random() < nasty else str(rng.choice(PLAIN))
        if new not in taken and (new not in TOLD or rng.random() < 0.05):
            taken.add(new)
            names[name] = new
    turn: dict[str, str] = {}
    used = set(system.axes)
    for axis in system.axes:
        if axis != "t" and rng.random() < nasty:
            new = AXES[int(rng.integers(len(AXES)))]
            if new not in used:
                used.add(new)
                turn[axis] = new
    label = str(rng.choice(NASTY)) if rng.random() < 0.3 else system.label
    moved = renamed(system, names, turn)
    return type(moved)(**{**moved.__dict__, "label": label})

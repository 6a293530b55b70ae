"""What the user touches: `Template`, with its inputs, params, variables, outputs and loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from .display import Display, Unfolded
from .errors import LengthError, TemplateError, UnknownAttributeError, from_call, here, message
from .ir.axes import TIME, Index, running, whole
from .ir.declarations import kind, sizes_of, text, valid
from .ir.details import Initial, Open
from .ir.system import Decl, Ref, System, check_known, visible
from .language.builder import ANEW, Builder
from .language.expression import Expr, axes_of
from .language.objectives import set_loss, set_stop
from .language.reruns import redeclared, rewritten
from .language.validate import check
from .language.variable import Variable
from .printing.plain import system_text
from .runtime.initializers import Initializer, check_picklable, initializer
from .runtime.queries import keyed, parted
from .transform import feedback, intervention
from .transform.adjoint import backward_of
from .unfold.lengths import unfoldable

if TYPE_CHECKING:
    from .runtime.net import Net

Shape = tuple[int, ...]
SETTABLE = ("loss", "stop", "_builder", "_frozen")


class Template(Display):
    """A folded graph: inputs, params, variables and one equation per line, independent of any length.

    >>> from unroll import Template, t, ops
    >>> g = Template("leak")
    >>> x, a, h = g.input("x"), g.param("a"), g.variable("h", ())
    >>> h[0] = 0
    >>> h[t] = a * h[t-1] + x[t]
    >>> g.loss = ops.sum(h[t], over=t)
    >>> print(g)
    template leak(x[t]: input, scalar; a: param, scalar)
      h[0] = 0
      h[t] = a * h[t-1] + x[t]    t = 1..T
      loss = sum(h[t], over=t)
    """

    __slots__ = ("__weakref__", "_builder", "_frozen")  # so that g.lose = ... is an error

    def __init__(self, name: str = "template") -> None:
        self._builder = Builder(text(name, "the name of a template", here()))
        self._builder.know([TIME])
        self._frozen: tuple[tuple[int, ...], System] | None = None

    @classmethod
    def of(cls, system: System) -> Template:
        """A template around a finished system, such as an adjoint."""
        made = cls(system.name)
        made._builder = Builder.extend(system)
        made._frozen = made._builder.stamp(), system
        return made

    def __setattr__(self, name: str, value: object) -> None:
        if name in SETTABLE:
            object.__setattr__(self, name, value)
            return
        has = f"of a template {name!r} cannot be set" if hasattr(type(self), name) else f"a template has no {name!r}"
        near = get_close_matches(name.lower(), SETTABLE[:2], 1)
        fix = (
            f"Did you mean g.{near[0]} = ...?" if near else "g.loss and g.stop can be set; equations define variables."
        )
        raise UnknownAttributeError(message(has, here(), fix=fix))

    def __copy__(self) -> Template:
        """A template of its own, which begins as this one is."""
        made = type(self).__new__(type(self))
        made._builder, made._frozen = self._builder.copy(), self._frozen
        return made

    def __deepcopy__(self, memo: dict[int, Any]) -> Template:
        made = type(self).__new__(type(self))
        memo[id(self)] = made
        made._builder, made._frozen = deepcopy(self._builder, memo), deepcopy(self._frozen, memo)
        return made

    def __getstate__(self) -> tuple[Any, ...]:
        check_picklable(self._builder.decls.values())
        return self._builder, self._frozen

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self._builder, self._frozen = state
        check_known(self.name, self._builder.equations)

    @property
    def name(self) -> str:
        """The name given at construction."""
        return self._builder.name

    def input(
        self,
        name: str,
        shape: int | Sequence[int] = (),
        *,
        over: object = ...,
        dtype: str = "float",
    ) -> Any:
        """Declare what the user passes: a sequence over a time axis, or with ``over=None`` one value per example.

        shape  per example and step; an int is a vector's length
        over   a time axis, a tuple of them, or None; the default is t
        dtype  "float", "int" (labels) or "bool"

        Raises TemplateError for a taken name, ShapeError, DTypeError.
        """
        axes = (TIME,) if over is ... else () if over is None else axes_of(over)
        made = self._declare(Decl(name, "input", sizes_of(shape), kind(dtype), axes, batched=True, source=here()))
        return Variable(self._builder, made) if axes else self._builder.read(Ref(made))

    def param(self, name: str, shape: int | Sequence[int] = (), init: str | float | Initializer | None = None) -> Expr:
        """Declare a trainable array.

        init  "glorot" (the default for matrices), "zeros" (the default for the rest), "ones", "uniform" (from -0.1 to
              0.1), "normal" (standard deviation 0.01, as in JAX; another: ``unroll.initializers.normal(1.0)``), "he",
              "orthogonal", a number, an array, or a function ``(rng, shape) -> array``
        """
        sizes = sizes_of(shape)
        made = self._declare(Decl(name, "param", sizes, detail=Initial(initializer(init, sizes, name)), source=here()))
        return self._builder.read(Ref(made))

    def variable(self, name: str, shape: int | Sequence[int] | None = None, *, dtype: str = "float") -> Variable:
        """Declare a variable; the shape is needed only where a read comes before the definition."""
        sizes = () if shape is None else sizes_of(shape)
        detail = Open() if shape is None else None
        made = self._declare(Decl(name, "variable", sizes, kind(dtype), detail=detail, source=here()))
        return Variable(self._builder, made)

    def _declare(self, decl: Decl) -> str:
        """Add what a user declares; its name as plain text. Raises TemplateError for what is no name, or is taken."""
        name = valid(decl.name, decl.kind, decl.source, (*self._builder.axes.values(), *decl.axes))
        decl = replace(decl, name=name)
        self._builder.declare(redeclared(self._builder, decl))
        if decl.kind == "variable":
            self._builder.opened[name] = decl
        return name

    def output(self, name: str, expr: object) -> None:
        """Name a value that `Net.run` returns: an expression, over its time axes or once per example.

        Several axes stand in the order in which the template met them, t first: g.output("y", a[s, t]) comes as
        (T, S, B, *shape), whereas the variable a, asked for by its name, has its own order.
        """
        builder, source = self._builder, here()
        value = builder.operand(expr)
        known = builder.decls.get(name) if hasattr(name, "isidentifier") else None
        if known is None or (name == "loss" and name != builder.loss):
            name = valid(name, "output", source, builder.axes.values())
        operand = value.operand
        if name in builder.outputs and not rewritten(builder, builder.named.get(name), source, operand):
            known_source = builder.decls[builder.outputs[name].name].source
            raise TemplateError(message(f"output {name!r} is defined twice", known_source, source, fix=ANEW))
        plain = isinstance(operand, Ref) and all(i.runs and not i.shift for i in operand.index)
        if known is not None and not (plain and isinstance(operand, Ref) and operand.name == name):
            if name not in builder.withdrawn and not rewritten(builder, known.source, source, operand):
                what = f"output {name!r}: the name belongs to {known.kind} {name}"
                raise TemplateError(message(what, source, fix="Choose another name."))
            known = None
        if known is None:
            axes = tuple(a for a in builder.axes.values() if a in value.axes)
            ref = Ref(name, tuple(Index(a, a.name) for a in axes))
            self._declare(Decl(name, "variable", value.shape, value.dtype, axes, source=source))
            builder.add(ref, value, tuple(whole(a) for a in axes), False, source)
        else:
            ref = operand if isinstance(operand, Ref) else Ref(name)
        builder.outputs[name], builder.named[name] = ref, source

    @property
    def loss(self) -> Expr | None:
        """The loss: one number per example, over which `Net.value_and_grad` averages."""
        return self._builder.read(Ref("loss")) if self._builder.loss else None

    @loss.setter
    def loss(self, expr: object) -> None:
        set_loss(self._builder, expr)

    @property
    def stop(self) -> Expr | None:
        """True at the last step of an example, where `Net.generate` ends it: one bool per example and step."""
        return self._builder.read(Ref("stop", (running(TIME),))) if self._builder.stop else None

    @stop.setter
    def stop(self, expr: object) -> None:
        set_stop(self._builder, expr)

    @property
    def system(self) -> System:
        """The checked system of equations; raises a TemplateError that names the equation, its place and the fix."""
        stamp = self._builder.stamp()
        if self._frozen is None or self._frozen[0] != stamp:
            self._frozen = stamp, check(self._settled().freeze())
        return self._frozen[1]

    def _settled(self) -> Builder:
        """A copy of the builder in which every variable has its axes."""
        copy = self._builder.copy()
        for name, decl in copy.decls.items():
            if any(a.name == "?" for a in decl.axes):
                copy.decls[name] = replace(decl, axes=tuple(TIME if a.name == "?" else a for a in decl.axes))
        return copy

    @from_call
    def adjoint(self, wrt: Sequence[str] | str | None = None) -> Template:
        """Back-propagation through time, as a template: the same equations and those of every cotangent ``h~``.

        wrt  the names to differentiate the loss by; by default every param

        The cotangent equations of the Elman network are the book's (10.18) to (10.28).
        """
        return Template.of(backward_of(self.system, wrt))

    @from_call
    def teacher_forced(self, forced: Mapping[str, str]) -> Template:
        """The template in which every delayed read of a variable reads the truth (book section 10.2.1).

        forced  variable -> what is read instead, an input like it: ``{"o": "y"}`` turns o[t-1] into y[t-1]

        The truth takes over the variable's boundaries where it has none. Where no other recurrence is left, all steps
        run at once. Raises TemplateError for names that are unknown, unlike each other, or never read with a delay.

        >>> from unroll import Template, ops, t
        >>> g = Template("ar"); y, o, w = g.input("y"), g.variable("o", ()), g.param("w")
        >>> o[0] = 0
        >>> o[t] = ops.tanh(w * o[t-1])
        >>> g.loss = ops.sum((o[t] - y[t])**2, over=t)
        >>> print(g.teacher_forced({"o": "y"}))
        template ar(y[t]: input, scalar; w: param, scalar)
          o[0] = 0
          o[t] = tanh(w * y[t-1])    t = 1..T
          loss = sum((o[t] - y[t])**2, over=t)
          y[0] = o[0]
        """
        return Template.of(feedback.teacher_forced(self.system, forced))

    @from_call
    def scheduled(self, forced: Mapping[str, str], probability: str | None = None) -> Template:
        """Scheduled sampling (Bengio et al. 2015): a delayed read is the truth or the variable itself, at random.

        probability  the name of the input that holds the probability of the truth, one number in [0, 1]; by default
                     "epsilon", or where that is taken "epsilon_2"

        Sampled independently for each step and example; `unroll.schedules` has the usual ways to lower the probability.
        Raises TemplateError as `teacher_forced` does.
        """
        axes = self._builder.axes.values()
        name = None if probability is None else valid(probability, "input", here(), axes)
        return Template.of(feedback.scheduled(self.system, forced, name))

    @from_call
    def open_loop(self, forced: Mapping[str, str], period: int, *, over: object = None) -> Template:
        """Delayed reads are the variable's own for `period` - 1 steps, and the truth after every `period`-th.

        over  the axis whose steps the period counts; by default the one along which the variable is read with delays.
              They are counted from the first one, or from the last one where what is read are later steps

        So the loss of every step is that of a forecast over up to `period` steps, and ``period=1`` is teacher forcing.
        For networks that carry along nothing but their outputs (book figure 10.4; an autoregression, which holds the
        latest outputs as one vector): then a forecast starts from the truth alone. Where hidden units recur too, only
        what the output feeds back is replaced: the state goes on from before.
        Raises TemplateError as `teacher_forced` does, AxisError where there are delays along several axes and none is
        chosen, and LengthError for what is no period.
        """
        axis = None if over is None else axes_of(over)[0]
        return Template.of(feedback.open_loop(self.system, forced, period, axis))

    @from_call
    def truncated(self, steps: int, *, sliding: bool = False, over: object = None) -> Template:
        """Truncated back-propagation through time: the same values, and gradients that reach back less far.

        steps    the length of the chunks between which no cotangent crosses: from step k+1 to k, from 2k+1 to 2k, ...
        sliding  True for a window instead: every loss reaches back through delays of exactly `steps` in all, with one
                 copy of the recurrence for each in the adjoint, so compile time and work grow with `steps`
        over     the axis; t where nothing is said

        Every read of another step counts but that of an input: the state, and a layer that reads the one below one step
        late. A boundary such as h[0] belongs to the first chunk, one at T+1 to the last; a window counts delays alone.
        What has no steps, such as a context, is never cut. The order among other changes of mode makes no difference.
        (Williams and Peng 1990, "epochwise" and "real-time" truncation.) Raises LengthError, AxisError, TemplateError.
        """
        axis = TIME if over is None else axes_of(over)[0]
        return Template.of(feedback.truncated(self.system, steps, axis, sliding))

    @from_call
    def clamped(self, *instances: tuple[Any, ...]) -> Template:
        """The template in which instances are set from outside, an intervention: no edge leads into them any more.

        instances  such as ``("h", 3)``; each becomes an input, ``do(h[3])``, with one value per example

        `Net.run` and `Net.value_and_grad` do the same for ``clamp={("h", 3): value}``. Raises UndefinedError,
        LengthError.
        """
        return Template.of(intervention.clamped(self.system, [parted(keyed(instance)) for instance in instances])[0])

    @from_call
    def inference(self) -> Template:
        """The template as it is used once trained: no dropout, and zoneout by its mean."""
        return Template.of(feedback.inference(self.system))

    @from_call
    def unfold(self, steps: int | None = None, *, detail: str = "variables", **lengths: int) -> Unfolded:
        """The unfolded graph for given lengths: ``g.unfold(5)``, or ``g.unfold(T=5, S=3)``.

        detail  "variables" has one node per declared name and step; "ops" one for every operation too
        """
        if steps is not None:
            if "T" in lengths:
                raise LengthError(f"T = {lengths['T']} and {steps} steps were given; leave one out")
            lengths = {"T": steps, **lengths}
        return Unfolded(self.system, unfoldable(self.system, lengths, detail), detail)

    def compile(
        self,
        backend: str = "auto",
        *,
        dtype: str | type = "float32",
        batch_first: bool = False,
        debug_nans: bool = False,
        without: Sequence[str] = (),
        precision: str = "float32",
        device: int | None = None,
        on_device: bool = False,
    ) -> Net:
        """Something callable on arrays: see `unroll.Net`.

        backend      "reference", "numpy", "native" or "cupy"; "auto" takes the fastest one installed for the CPU
        dtype        "float32" (the default), "float64", or "complex128" for complex-step checks; inputs are cast to it
        batch_first  True where arrays come as (B, T, ...) instead of (T, B, ...)
        debug_nans   True to stop at the first nan or infinity, naming variable, step and direction
        without      passes of the compiler to leave out, such as "merge" or "fuse"; an unknown name lists them all
        precision    "cupy" alone: "tf32" lets products round their factors to 11 bits; "bfloat16" and "float16" keep
                     what carries the batch, and the factors of products, in 16 bits, and add up in float32. What you
                     give and get stays float32; params, their gradients and losses are float32 throughout
        device       for "cupy" the number of the GPU; by default CuPy's current device
        on_device    for "cupy" True to have params and results as CuPy arrays, for which the host does not wait; by
                     default they are NumPy arrays

        "cupy" takes NumPy arrays, CuPy arrays, and what else has ``__dlpack__`` on the CPU or that GPU (PyTorch's
        tensors, JAX's arrays). Labels that lie on the GPU are not checked, for the host would have to wait: one out of
        range reads nothing outside its table, and gives numbers without meaning.
        """
        from .runtime.net import Net  # compiling takes twice as long to import as declaring

        how: dict[str, Any] = {"debug_nans": debug_nans, "without": without, "precision": precision}
        how |= {"device": device, "on_device": on_device}
        return Net(self.system, backend, dtype=dtype, batch_first=batch_first, **how)

    def __str__(self) -> str:
        done = self._frozen is not None and self._frozen[0] == self._builder.stamp()
        return system_text(self._frozen[1] if done and self._frozen else self._settled().freeze())

    def __repr__(self) -> str:
        present = self._builder.present()
        decls = [d for n, d in self._builder.decls.items() if n in present]
        counts = {kind: sum(d.kind == kind for d in decls) for kind in ("input", "param", "variable")}
        return f"<Template {visible(self.name)}: " + ", ".join(f"{n} {kind}s" for kind, n in counts.items()) + ">"

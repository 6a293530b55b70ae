"""The functions that programs share: what fails or is interrupted does so alone, and the next program is right."""

from __future__ import annotations

import gc
import linecache
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
import pytest

from unroll import Template, ops, t
from unroll.errors import BackendError

pytest.importorskip("llvmlite")

from unroll.backends.native import backend as native_backend
from unroll.backends.native import runtime_library, thread_pool
from unroll.backends.native.ir_builder import Code
from unroll.backends.native.llvm_ir import Module
from unroll.backends.native.tasks import TaskBuilder

ALIVE: list[Any] = []
"""What the tests compiled: LLVM knows the functions by name from then on, and calls what it met last."""
FILES = ("runtime_library.py", "thread_pool.py", "jit.py", "backend.py", "emit.py", "ir_builder.py", "gemm.py")
FILES += ("microkernel.py", "packing.py")
X = np.random.default_rng(0).normal(size=(3, 16, 16)).astype(np.float32)


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A library in which nothing has been written yet."""
    begin_again(monkeypatch)
    yield
    for unit in list(runtime_library._kept):
        unit.finish()


def begin_again(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[Any] = []
    ALIVE.append(kept)
    monkeypatch.setattr(runtime_library, "_texts", {})
    monkeypatch.setattr(runtime_library, "_units", WeakValueDictionary())
    monkeypatch.setattr(runtime_library, "_kept", kept)


def product() -> Template:
    g = Template("product")
    W, x, h = g.param("W", (16, 16), "normal"), g.input("x", 16), g.variable("h", 16)
    h[0] = 0
    h[t] = W @ h[t - 1] + W @ x[t]
    return g


def pointwise() -> Template:
    g = Template("pointwise")
    x, h = g.input("x", 16), g.variable("h", 16)
    h[0] = 0
    h[t] = ops.tanh(0.5 * h[t - 1] + x[t])
    return g


def check(make: Callable[[], Template]) -> None:
    g = make()
    plain = g.compile("numpy")
    params = plain.init(0)
    found = g.compile("native").run(params, "h", x=X)
    np.testing.assert_allclose(found, plain.run(params, "h", x=X), atol=1e-5)


def test_what_fails_to_compile_fails_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    real, fails = runtime_library.CompiledModule, [True]

    def compiled(text: str) -> Any:
        if fails[0] and 'define external void @"unroll_strip' in text:
            raise RuntimeError("planted")
        return real(text)

    monkeypatch.setattr(runtime_library, "CompiledModule", compiled)
    with pytest.raises(BackendError, match=r"could not be compiled: planted.*backend='numpy'"):
        check(product)
    check(pointwise)  # which calls nothing of it
    with pytest.raises(BackendError, match="planted"):
        check(product)
    fails[0] = False
    check(product)
    check(pointwise)


def test_what_fails_once_is_done_by_who_needs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    real, seen = runtime_library.CompiledModule, set()

    def compiled(text: str) -> Any:
        if text not in seen:
            seen.add(text)
            raise MemoryError("for the moment")
        return real(text)

    monkeypatch.setattr(runtime_library, "CompiledModule", compiled)
    for _ in range(50):  # one function after the other: some fail in the thread, some where they are waited for
        try:
            check(product)
            break
        except MemoryError:
            continue
    else:
        pytest.fail("it never came right")
    assert len(seen) > 3


def test_a_program_that_fails_is_no_concern_of_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    real = native_backend.CompiledModule
    monkeypatch.setattr(native_backend, "CompiledModule", lambda text: real(text.replace("define", "defined")))
    with pytest.raises(BackendError, match="could not be compiled"):
        check(product)
    monkeypatch.setattr(native_backend, "CompiledModule", real)
    check(product)


def test_without_threads_it_is_done_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    class Refused:
        def __init__(self, **options: Any) -> None:
            pass

        def start(self) -> None:
            raise RuntimeError("can't start new thread")

    monkeypatch.setattr(runtime_library, "Thread", Refused)
    monkeypatch.setattr(thread_pool.threading, "Thread", Refused)
    check(product)
    check(pointwise)


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_a_function_half_written_is_not_there(monkeypatch: pytest.MonkeyPatch, error: type[BaseException]) -> None:
    real, left = runtime_library.Code.loop, [0]

    def loop(self: Any, *args: Any, **options: Any) -> Any:
        left[0] -= 1
        if not left[0]:
            raise error
        return real(self, *args, **options)

    monkeypatch.setattr(runtime_library.Code, "loop", loop)
    failed = 0
    for at in range(1, 200):
        left[0] = at
        try:
            check(product)
            break
        except error:
            failed += 1
    left[0] = 0
    assert 3 < failed < 199
    check(product)


class Interrupt:
    """Raises KeyboardInterrupt at the n-th line that is run in some files of the backend, as Ctrl-C may.

    Not where a line begins with "with", which is met again at its end: no signal is taken between a body and its exit.
    """

    def __init__(self, at: int) -> None:
        self.left, self.where = at, ""

    def __call__(self, frame: FrameType, event: str, arg: Any) -> Any:
        path = Path(frame.f_code.co_filename)
        if event == "call" and not (path.parent.name == "native" and path.name in FILES):
            return None
        if event == "line" and not linecache.getline(str(path), frame.f_lineno).lstrip().startswith("with "):
            self.left -= 1
            if not self.left:
                self.where = f"{path.name}:{frame.f_lineno}"
                raise KeyboardInterrupt
        return self


def interrupted(at: int) -> Interrupt:
    g = product()
    params = g.compile("numpy").init(0)
    interrupt, before = Interrupt(at), sys.gettrace()
    sys.settrace(interrupt)
    try:
        g.compile("native").run(params, "h", x=X)
    except KeyboardInterrupt:
        pass
    finally:
        sys.settrace(before)
    return interrupt


def no_compiler_is_left() -> bool:
    for thread in threading.enumerate():
        if thread.name == "unroll compiler":
            thread.join(30)
    return not runtime_library._pace.threads


def check_interruptions(monkeypatch: pytest.MonkeyPatch, points: int) -> None:
    pace = sys.getswitchinterval()
    lines = -interrupted(0).left
    assert lines > 500
    for at in sorted({1 + lines * k // points for k in range(points)}):
        begin_again(monkeypatch)
        where = interrupted(at).where
        try:
            check(product)
            check(pointwise)
        except BaseException as error:
            raise AssertionError(f"interrupted at {where}, line {at} of {lines}") from error
        for unit in list(runtime_library._kept):
            unit.finish()
        assert no_compiler_is_left(), where
        assert sys.getswitchinterval() == pytest.approx(pace), where


def test_interrupted_anywhere_the_next_program_is_right(monkeypatch: pytest.MonkeyPatch) -> None:
    check_interruptions(monkeypatch, 8)


@pytest.mark.slow
def test_interrupted_at_very_many_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    check_interruptions(monkeypatch, 400)


def test_each_function_has_memory_of_its_own_for_the_arguments_of_its_calls() -> None:
    """Functions come and go while a program is written, and a new one may lie where an old one did."""
    c = Code("float32", 32)
    tasks = TaskBuilder(c, 1)
    for n in range(50):
        with c.function_named(f"f{n}", []) as function:
            tables = [tasks.table(size) for size in (1, 4, 4)]
        assert tables[1] is tables[2]
        assert all(f"{table.text} = alloca" in function.definition for table in tables)
        c.module = Module()
        del function
        gc.collect(1)  # of what is young: a whole collection takes long in a process with many objects

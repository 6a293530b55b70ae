"""The thread pool: threads that take chunks of the large products inside loops, and sleep outside them.

A product is cut into chunks that whoever comes first takes, by one atomic word that holds a generation, how many chunks
there are and which is next; so a helper that is late costs nothing, and which thread computes a chunk changes no bit.
Helpers spin while a loop runs and for a moment afterwards, since one run often follows another; then they sleep on a
semaphore. One that falls asleep while a run begins may miss it, which then is done without.
"""

from __future__ import annotations

import os
import sys
import threading
from contextlib import suppress
from functools import cache

from ..common.forks import after_fork
from . import runtime_library, tuning
from .jit import CompiledModule

LIMITS = ("UNROLL_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")
"""Environment variables that say how many threads to use, the first that is set."""

TEXT = """
@ticket = internal global i64 0, align 128
@done = internal global i64 0, align 128
@owner = internal global i64 0, align 128
@active = internal global i64 0, align 128
@asleep = internal global i64 0, align 128
@job = internal global ptr null, align 128
@arguments = internal global ptr null, align 8
@sleepers = internal global [64 x i8] zeroinitializer, align 128

declare i32 @sem_init(ptr, i32, i32)
declare i32 @sem_post(ptr)
declare i32 @sem_wait(ptr)
declare i32 @sched_yield()
DECLARED

define void @setup(ptr %0, ptr %1) {
  %r = call i32 @sem_init(ptr @sleepers, i32 0, i32 0)
  ret void
}

define internal void @work() {
  br label %again
again:
  %word = load atomic i64, ptr @ticket acquire, align 8
  %next = and i64 %word, 65535
  %high = lshr i64 %word, 16
  %total = and i64 %high, 65535
  %some = icmp ult i64 %next, %total
  br i1 %some, label %claim, label %none
claim:
  %taken = add i64 %word, 1
  %swap = cmpxchg ptr @ticket, i64 %word, i64 %taken acq_rel acquire
  %mine = extractvalue { i64, i1 } %swap, 1
  br i1 %mine, label %do, label %again
do:
  %f = load ptr, ptr @job, align 8
  %a = load ptr, ptr @arguments, align 8
  call void %f(ptr %a, i64 %next)
  %d = atomicrmw add ptr @done, i64 1 release
  br label %again
none:
  ret void
}

define void @helper(ptr %0, ptr %1) {
start:
  br label %sleep
sleep:
  %a = atomicrmw add ptr @asleep, i64 1 seq_cst
  %r = call i32 @sem_wait(ptr @sleepers)
  br label %spin
spin:
  %n = phi i64 [ LINGER, %sleep ], [ LINGER, %spin ], [ %m, %linger ]
  call void @work()
  PAUSE
  %on = load atomic i64, ptr @active acquire, align 8
  %go = icmp ne i64 %on, 0
  br i1 %go, label %spin, label %linger
linger:
  %m = sub i64 %n, 1
  %more = icmp sgt i64 %m, 0
  br i1 %more, label %spin, label %sleep
}

define internal i64 @begin(i64 %helpers) {
  %swap = cmpxchg ptr @owner, i64 0, i64 1 acq_rel acquire
  %mine = extractvalue { i64, i1 } %swap, 1
  br i1 %mine, label %wake, label %alone
wake:
  store atomic i64 1, ptr @active seq_cst, align 8
  %asleep = atomicrmw xchg ptr @asleep, i64 0 seq_cst
  br label %some
some:
  %n = phi i64 [ 0, %wake ], [ %m, %post ]
  %more = icmp ult i64 %n, %asleep
  br i1 %more, label %post, label %out
post:
  %r = call i32 @sem_post(ptr @sleepers)
  %m = add i64 %n, 1
  br label %some
out:
  ret i64 1
alone:
  ret i64 0
}

define void @end() {
  store atomic i64 0, ptr @active release, align 8
  store atomic i64 0, ptr @owner release, align 8
  ret void
}

define internal void @share(ptr %f, ptr %a, i64 %total) {
start:
  store ptr %f, ptr @job, align 8
  store ptr %a, ptr @arguments, align 8
  store atomic i64 0, ptr @done release, align 8
  %word = load atomic i64, ptr @ticket acquire, align 8
  %generation = lshr i64 %word, 32
  %later = add i64 %generation, 1
  %high = shl i64 %later, 32
  %low = shl i64 %total, 16
  %fresh = or i64 %high, %low
  store atomic i64 %fresh, ptr @ticket release, align 8
  call void @work()
  br label %wait
wait:
  %n = phi i64 [ 0, %start ], [ %m, %still ], [ %m, %give ]
  %d = load atomic i64, ptr @done acquire, align 8
  %all = icmp eq i64 %d, %total
  br i1 %all, label %out, label %still
still:
  PAUSE
  %m = add i64 %n, 1
  %long = and i64 %m, 4095
  %yields = icmp eq i64 %long, 0
  br i1 %yields, label %give, label %wait
give:
  %r = call i32 @sched_yield()
  br label %wait
out:
  ret void
}

define void @run(ptr %f, ptr %a, i64 %shares, i1 %large, ptr %helped, i64 %helpers) {
start:
  br i1 %large, label %asked, label %alone
asked:
  %before = load i64, ptr %helped, align 8
  %never = icmp eq i64 %before, 0
  br i1 %never, label %ask, label %known
ask:
  %come = call i64 @begin(i64 %helpers)
  %nobody = icmp eq i64 %come, 0
  %answer = select i1 %nobody, i64 -1, i64 %come
  store i64 %answer, ptr %helped, align 8
  br label %known
known:
  %state = phi i64 [ %before, %asked ], [ %answer, %ask ]
  %came = icmp eq i64 %state, 1
  br i1 %came, label %many, label %alone
many:
  call void @share(ptr %f, ptr %a, i64 %shares)
  ret void
alone:
  %some = icmp sgt i64 %shares, 0
  br i1 %some, label %one, label %out
one:
  %n = phi i64 [ 0, %alone ], [ %m, %one ]
  call void %f(ptr %a, i64 %n)
  %m = add i64 %n, 1
  %more = icmp slt i64 %m, %shares
  br i1 %more, label %one, label %out
out:
  ret void
}
"""


def threads() -> int:
    """How many threads a product may use, this one included."""
    for name in LIMITS:
        value = os.environ.get(name, "").split(",")[0]
        if value.isdecimal() and int(value) > 0:
            return min(int(value), tuning.MAX_THREADS)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, tuning.MAX_THREADS)


NAMES = ("unroll_pool_run", "unroll_pool_end")


class Pool:
    """The helpers of this process."""

    def __init__(self, helpers: int) -> None:
        pause = "call void @llvm.x86.sse2.pause()" if os.uname().machine in ("x86_64", "AMD64") else ""
        text = TEXT.replace("LINGER", str(tuning.LINGER)).replace("PAUSE", pause)
        text = text.replace("DECLARED", pause.replace("call", "declare"))
        self._compiled = CompiledModule(text)
        self._compiled.function("setup")(None, None)
        self.addresses = {name: self._compiled.address(name.removeprefix("unroll_pool_")) for name in NAMES}
        helper = self._compiled.function("helper")
        with suppress(RuntimeError):  # no more threads can be had: who does the work does it with fewer
            for _ in range(helpers):
                threading.Thread(target=helper, args=(None, None), name="unroll helper", daemon=True).start()


@cache
def _helpers(process: int) -> int:
    return threads() - 1 if sys.platform == "linux" else 0


def helpers() -> int:
    """How many threads help this one."""
    return _helpers(os.getpid())


def _make() -> tuple[object, dict[str, int]]:
    made = Pool(helpers())
    return made, made.addresses


def start() -> None:
    """Let the helpers wait for work, where there are any and they do not yet."""
    if helpers():
        runtime_library.provide(NAMES, _make)


@after_fork
def _none_came() -> None:
    """A fork has helpers of its own; programs compiled before it do their work alone."""
    runtime_library.forget(NAMES)

"""The thread pool: threads that take chunks of the large products inside loops, and sleep outside them.

A product is cut into chunks that whoever comes first takes, by one atomic word that holds a generation, how many chunks
there are and which is next; so a helper that is late costs nothing, and which thread computes a chunk changes no bit.
Helpers spin while a loop runs and for a moment afterwards, since one run often follows another; then each sleeps on a
semaphore of its own, so that those wake that may come. One that falls asleep while a run begins may miss it, which then
is done without.
"""

from __future__ import annotations

import os
import threading
from contextlib import suppress

from ..common.forks import after_fork
from . import runtime_library, tuning
from .jit import CompiledModule
from .num_threads import THREADS
from .threadpoolctl_api import know_pool

TEXT = """
@ticket = internal global i64 0, align 128
@done = internal global i64 0, align 128
@owner = internal global i64 0, align 128
@active = internal global i64 0, align 128
@limit = internal global i64 0, align 128
@job = internal global ptr null, align 128
@arguments = internal global ptr null, align 8
@asleep = internal global [MOST x [16 x i64]] zeroinitializer, align 128
@semaphores = internal global [MOST x [128 x i8]] zeroinitializer, align 128

declare i32 @sem_init(ptr, i32, i32)
declare i32 @sem_post(ptr)
declare i32 @sem_wait(ptr)
declare i32 @sched_yield()
DECLARED

define void @setup(ptr %0, ptr %1) {
start:
  br label %next
next:
  %n = phi i64 [ 0, %start ], [ %m, %next ]
  %semaphore = getelementptr [128 x i8], ptr @semaphores, i64 %n
  %r = call i32 @sem_init(ptr %semaphore, i32 0, i32 0)
  %m = add i64 %n, 1
  %more = icmp ult i64 %m, MOST
  br i1 %more, label %next, label %out
out:
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
  %number = ptrtoint ptr %0 to i64
  %asleep = getelementptr [16 x i64], ptr @asleep, i64 %number
  %semaphore = getelementptr [128 x i8], ptr @semaphores, i64 %number
  br label %sleep
sleep:
  store atomic i64 1, ptr %asleep seq_cst, align 8
  %r = call i32 @sem_wait(ptr %semaphore)
  br label %spin
spin:
  %n = phi i64 [ LINGER, %sleep ], [ LINGER, %help ], [ %m, %linger ]
  %limit = load atomic i64, ptr @limit acquire, align 8
  %may = icmp slt i64 %number, %limit
  br i1 %may, label %help, label %sleep
help:
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

define void @limited(ptr %0, ptr %1) {
  %n = ptrtoint ptr %0 to i64
  store atomic i64 %n, ptr @limit release, align 8
  ret void
}

define internal i64 @begin(i64 %0) {
  %limit = load atomic i64, ptr @limit acquire, align 8
  %fewer = icmp slt i64 %limit, %0
  %helpers = select i1 %fewer, i64 %limit, i64 %0
  %any = icmp sgt i64 %helpers, 0
  br i1 %any, label %ask, label %alone
ask:
  %swap = cmpxchg ptr @owner, i64 0, i64 1 acq_rel acquire
  %mine = extractvalue { i64, i1 } %swap, 1
  br i1 %mine, label %wake, label %alone
wake:
  store atomic i64 1, ptr @active seq_cst, align 8
  br label %next
next:
  %n = phi i64 [ 0, %wake ], [ %m, %following ]
  %more = icmp ult i64 %n, %helpers
  br i1 %more, label %look, label %out
look:
  %flag = getelementptr [16 x i64], ptr @asleep, i64 %n
  %was = atomicrmw xchg ptr %flag, i64 0 seq_cst
  %sleeps = icmp ne i64 %was, 0
  br i1 %sleeps, label %post, label %following
post:
  %semaphore = getelementptr [128 x i8], ptr @semaphores, i64 %n
  %r = call i32 @sem_post(ptr %semaphore)
  br label %following
following:
  %m = add i64 %n, 1
  br label %next
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


NAMES = ("unroll_pool_run", "unroll_pool_end")


class Pool:
    """The helpers of this process, as many as programs may use; how many of them come is a word of its own."""

    def __init__(self) -> None:
        pause = "call void @llvm.x86.sse2.pause()" if os.uname().machine in ("x86_64", "AMD64") else ""
        text = TEXT
        limits = {"LINGER": str(tuning.LINGER), "MOST": str(tuning.MAX_THREADS)}
        for word, value in {**limits, "PAUSE": pause, "DECLARED": pause.replace("call", "declare")}.items():
            text = text.replace(word, value)
        self._compiled = CompiledModule(text)
        self._compiled.function("setup")(None, None)
        self.addresses = {name: self._compiled.address(name.removeprefix("unroll_pool_")) for name in NAMES}
        self._helper, self._limit = self._compiled.function("helper"), self._compiled.function("limited")
        self._made = 0
        self.tell()

    def tell(self) -> None:
        """Let there be as many helpers as programs may use, and no more come than may."""
        self._limit(THREADS.limit - 1, None)
        with suppress(RuntimeError):  # no more threads can be had: who does the work does it with fewer
            while self._made < helpers():
                number = self._made, None
                threading.Thread(target=self._helper, args=number, name="unroll helper", daemon=True).start()
                self._made += 1


def helpers() -> int:
    """How many threads may help this one in a program that is compiled now."""
    return THREADS.most - 1


def _make() -> tuple[object, dict[str, int]]:
    made = Pool()
    THREADS.tell = made.tell
    know_pool()
    return made, made.addresses


def start() -> None:
    """Let the helpers wait for work, where there are any and they do not yet."""
    if helpers():
        runtime_library.provide(NAMES, _make)


@after_fork
def _none_came() -> None:
    """A fork has helpers of its own; programs compiled before it do their work alone."""
    THREADS.tell = None
    runtime_library.forget(NAMES)

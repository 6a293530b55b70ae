"""Calls of compiled functions that Ctrl-C ends: a long one runs in another thread, while the main thread waits for it.

Python looks at signals in the main thread alone, and between its own instructions: a compiled function would first run
to its end. While the main thread waits for a lock it looks at them too; what a handler raises, KeyboardInterrupt or
another, then sets the word at which the function stops. To go to the other thread and back takes some tens of
microseconds, so a call does where it is expected to take long: by its size, and by the time that the one measured last
took. The first always is.
"""

from __future__ import annotations

import ctypes
import math
import threading
from collections.abc import Callable
from queue import SimpleQueue
from time import perf_counter

from ..common.forks import after_fork
from . import tuning

Pointers = tuple[ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p]
"""What `unroll.backends.native.emit.emit` says of the function: the last is the word."""


class InterruptibleCall:
    """A compiled function that can be called as it is, or stopped."""

    def __init__(self, function: Callable[..., object]) -> None:
        self.function = function
        self._pace = math.inf

    def __call__(self, pointers: Pointers, work: int, held: object) -> None:
        """Call it. Raises what a handler of a signal raises meanwhile.

        work  a number that the time it takes grows with
        held  what has the memory that the function reads and writes
        """
        if work * self._pace < tuning.LONG or threading.get_ident() != _place.main:
            self.function(*pointers)
        else:
            self._pace = _place.run(Job(self.function, pointers, held)) / work


class Job:
    """One call, for the thread that makes it."""

    def __init__(self, function: Callable[..., object], pointers: Pointers, held: object) -> None:
        self.function, self.pointers, self.held = function, pointers, held
        self.seconds, self.finished = 0.0, False
        self.unfinished = threading.Lock()  # which no signal can leave half taken, as an event's own
        self.unfinished.acquire()

    def do(self) -> None:
        """Call, unless that has been done."""
        if not self.finished:
            start = perf_counter()
            self.function(*self.pointers)
            self.seconds, self.finished = perf_counter() - start, True
            self.unfinished.release()

    def wait(self) -> None:
        """Come back when it is finished; or now and then, where no signal wakes who waits."""
        self.unfinished.acquire(timeout=tuning.PATIENCE)

    def stop(self) -> None:
        """Let the function end soon."""
        ctypes.c_int64.from_address(self.pointers[2].value or 0).value = 1


class _Place:
    """The main thread of this process, and the one that computes for it."""

    def __init__(self) -> None:
        self.main = threading.main_thread().ident
        self.jobs: SimpleQueue[Job] | None = None
        self.busy = False

    def run(self, job: Job) -> float:
        """Do a job, and wait for it; the seconds that it took."""
        jobs = None if self.busy else self._started()  # busy: a handler of a signal calls while the main thread waits
        if jobs is None:
            job.do()
            return job.seconds
        try:
            self.busy = True
            jobs.put(job)
            while not job.finished:
                job.wait()
        except BaseException:
            self._end(jobs, job)
            raise
        finally:
            self.busy = False
        return job.seconds

    def _end(self, jobs: SimpleQueue[Job], job: Job) -> None:
        """Come back when a job is done, which is soon, whatever is raised meanwhile."""
        while not job.finished:
            try:
                job.stop()
                jobs.put(job)  # it may not have got so far
                job.wait()
            except BaseException:  # noqa: BLE001 - another Ctrl-C: the first is on its way
                continue

    def _started(self) -> SimpleQueue[Job] | None:
        """The jobs of the thread; None where none can be had."""
        if self.jobs is None:
            jobs: SimpleQueue[Job] = SimpleQueue()
            try:
                threading.Thread(target=_serve, args=(jobs,), name="unroll caller", daemon=True).start()
            except RuntimeError:
                return None
            self.jobs = jobs
        return self.jobs


def _serve(jobs: SimpleQueue[Job]) -> None:
    while True:
        jobs.get().do()


_place = _Place()


@after_fork
def _nobody_waits() -> None:
    """The thread that forked is the main thread now, and the only one."""
    _place.__init__()  # type: ignore[misc]

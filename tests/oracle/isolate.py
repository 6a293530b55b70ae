"""Work in a process of its own, so that a crash or a hang is a result like any other."""

from __future__ import annotations

import contextlib
import os
import pickle
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any


class Died(Exception):
    """The process ended otherwise than by returning: by a signal, or after too long."""


class Server:
    """A process that does one piece of work after another, and is made anew when it dies."""

    def __init__(self, work: Callable[[Any], Any], *, most: int = 100) -> None:
        self.work, self.most = work, most
        self.pid, self.left = 0, 0
        self.inward, self.outward = -1, -1

    def start(self) -> None:
        """A new process."""
        self.stop()
        there, self.outward = os.pipe()
        self.inward, back = os.pipe()
        sys.stdout.flush()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self.outward)
            os.close(self.inward)
            with os.fdopen(there, "rb") as source, os.fdopen(back, "wb") as sink:
                while True:
                    try:
                        task = pickle.load(source)
                    except EOFError:
                        os._exit(0)
                    try:
                        result: tuple[bool, Any] = (True, self.work(task))
                    except BaseException:  # noqa: BLE001 - all of it goes to the parent
                        result = (False, traceback.format_exc())
                    data = pickle.dumps(result)
                    sink.write(len(data).to_bytes(8, "little") + data)
                    sink.flush()
        os.close(there)
        os.close(back)
        self.left = self.most

    def stop(self) -> int:
        """End the process; its status."""
        if not self.pid:
            return 0
        os.close(self.outward)
        os.close(self.inward)
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        _, status = os.waitpid(self.pid, 0)
        self.pid = 0
        return status

    def __call__(self, task: Any, seconds: float) -> Any:
        """What the work comes to. Raises Died, or RuntimeError with a traceback."""
        if not self.pid or not self.left:
            self.start()
        self.left -= 1
        with os.fdopen(os.dup(self.outward), "wb") as pipe:
            pipe.write(pickle.dumps(task))
        answer = b""
        until = time.monotonic() + seconds
        while len(answer) < 8 or len(answer) < 8 + int.from_bytes(answer[:8], "little"):
            left = until - time.monotonic()
            if left <= 0 or not select.select([self.inward], [], [], left)[0]:
                self.stop()
                raise Died(f"no answer in {seconds:.0f} s")
            chunk = os.read(self.inward, 1 << 16)
            if not chunk:
                time.sleep(0.01)
                _, status = os.waitpid(self.pid, 0)
                os.close(self.outward)
                os.close(self.inward)
                self.pid = 0
                raise Died(ending(status))
            answer += chunk
        fine, value = pickle.loads(answer[8:])
        if not fine:
            raise RuntimeError(value)
        return value


def ending(status: int) -> str:
    """How a process ended."""
    if os.WIFSIGNALED(status):
        return f"killed by {signal.Signals(os.WTERMSIG(status)).name}"
    return f"ended with status {status} and no answer"


def isolated(work: Callable[[], Any], seconds: float) -> Any:
    """What `work` returns in a forked process. Raises Died, or RuntimeError with the traceback of what it raised."""
    reader, writer = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        try:
            result: tuple[bool, Any] = (True, work())
        except BaseException:  # noqa: BLE001 - all of it goes to the parent
            result = (False, traceback.format_exc())
        try:
            with os.fdopen(writer, "wb") as pipe:
                pickle.dump(result, pipe)
        finally:
            os._exit(0)
    os.close(writer)
    chunks: list[bytes] = []
    until, late = time.monotonic() + seconds, False
    try:
        while True:
            left = until - time.monotonic()
            if left <= 0 or not select.select([reader], [], [], left)[0]:
                late = True
                os.kill(pid, signal.SIGKILL)
                break
            chunk = os.read(reader, 1 << 16)
            if not chunk:
                break
            chunks.append(chunk)
    finally:
        os.close(reader)
        _, status = os.waitpid(pid, 0)
    if late:
        raise Died(f"no answer in {seconds:.0f} s")
    if os.WIFSIGNALED(status) or not chunks:
        raise Died(ending(status))
    fine, value = pickle.loads(b"".join(chunks))
    if not fine:
        raise RuntimeError(value)
    return value

"""Atomic writes: a file is written whole or not at all."""

from __future__ import annotations

import os
import re
import stat
import sys
from contextlib import suppress

SPECIAL = ("/dev/", "/proc/")
"""Where paths lead to devices and to what is open already, whose names stand for no file of their own."""
OPEN = re.compile(r"/dev/(?:fd/(\d+)|(stdout)|(stderr))|/proc/self/fd/(\d+)")
"""What is open already in this process."""


def write_atomically(path: str | os.PathLike[str], data: str | bytes) -> None:
    """Write a file, text as UTF-8; whatever happens meanwhile, it holds all of that or what it held before.

    The data go to a file beside it, which then takes its place with its permissions. A link stays a link, and what it
    leads to is written. Devices and pipes are written to as they are. Raises OSError, which names `path`.
    """
    whole = data.encode() if isinstance(data, str) else data
    target = os.path.abspath(path)
    try:
        while os.path.islink(target) and not target.startswith(SPECIAL):
            target = os.path.join(os.path.dirname(target), os.readlink(target))
        known = os.stat(target) if os.path.exists(target) else None
        if known is not None and (target.startswith(SPECIAL) or not stat.S_ISREG(known.st_mode)):
            _write(_special(target), whole)
        elif known is not None and not os.access(target, os.W_OK):
            raise PermissionError(13, os.strerror(13))
        else:
            _replace(target, whole, known)
    except OSError as error:
        raise OSError(error.errno, error.strerror, os.fspath(path)) from None


def _special(target: str) -> int:
    """A descriptor of what is no file of its own: with the place of one that is open already, and nothing cut off."""
    if found := OPEN.fullmatch(target):
        with suppress(AttributeError, ValueError):
            (sys.stderr if found[3] else sys.stdout).flush()
        return os.dup(int(found[1] or found[4] or (2 if found[3] else 1)))
    return os.open(target, os.O_WRONLY | os.O_APPEND)


def _write(number: int, data: bytes) -> None:
    with os.fdopen(number, "wb") as file:
        file.write(data)
        file.flush()
        with suppress(OSError):  # a pipe has nothing to sync
            os.fsync(file.fileno())


def _replace(target: str, data: bytes, known: os.stat_result | None) -> None:
    beside = os.path.join(os.path.dirname(target), f".unroll-{os.urandom(8).hex()}")
    try:
        number = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
    except PermissionError:
        if known is None:
            raise
        _write(os.open(target, os.O_WRONLY | os.O_TRUNC), data)  # a folder in which nothing new may lie
        return
    try:
        with os.fdopen(number, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if known is not None:
            os.chmod(beside, stat.S_IMODE(known.st_mode))
            if hasattr(os, "chown"):
                with suppress(OSError):  # of another user's
                    os.chown(beside, known.st_uid, known.st_gid)
        os.replace(beside, target)
    except BaseException:
        with suppress(OSError):
            os.unlink(beside)
        raise

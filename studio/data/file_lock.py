"""The kernel's lock on a file that may be removed and made anew by whoever holds it."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from studio.data.examples import DataError

SECONDS_TO_WAIT = 2.0  # for another page that writes to the same file


@contextmanager
def alone_at(path: Path) -> Generator[None]:
    """Hold the kernel's lock on the file at `path`, made when it is not there; the lock of a file that was removed
    meanwhile is worth nothing, so its successor's is taken."""
    path.parent.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + SECONDS_TO_WAIT
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(descriptor, path):
                break
        except BlockingIOError:
            if time.monotonic() > deadline:
                os.close(descriptor)
                raise DataError("The draft is being saved or written to elsewhere. Try again in a moment.") from None
            time.sleep(0.02)
        os.close(descriptor)
    try:
        yield
    finally:
        os.close(descriptor)


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False

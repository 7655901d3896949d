"""The kernel lock on a run's folder: held means that a shim or worker of the run is alive.

flock belongs to the open file, which children inherit: the lock frees itself when the last of them dies, however it
dies. Whoever wants to change a run's records takes it first, so two never do so at once.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Generator
from contextlib import contextmanager

from studio.runs.folder import RunFolder

POLL_SECONDS = 0.01
PROBE_SECONDS = 0.3  # long enough to outlast another process's short look


def acquire(folder: RunFolder, wait: float = PROBE_SECONDS) -> int | None:
    """The descriptor that holds the lock; None when another has it for `wait` seconds or the folder is gone.

    Raises OSError when the lock's file cannot be made (disk full, read-only).
    """
    try:
        descriptor = os.open(folder.lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except (FileNotFoundError, NotADirectoryError):
        return None
    deadline = time.monotonic() + wait
    while not _try(descriptor, fcntl.LOCK_EX):
        if time.monotonic() >= deadline:
            os.close(descriptor)
            return None
        time.sleep(POLL_SECONDS)
    if not _still_there(descriptor, folder):
        os.close(descriptor)
        return None
    return descriptor


@contextmanager
def hold(folder: RunFolder, wait: float = PROBE_SECONDS) -> Generator[bool]:
    """Hold the lock for a moment; yields whether it was to be had."""
    descriptor = acquire(folder, wait)
    try:
        yield descriptor is not None
    finally:
        if descriptor is not None:
            os.close(descriptor)


def is_held(folder: RunFolder) -> bool:
    """Whether a process of the run is alive (or somebody is changing its records this very moment)."""
    try:
        descriptor = os.open(folder.lock_file, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return not _try(descriptor, fcntl.LOCK_SH)
    finally:
        os.close(descriptor)


def _try(descriptor: int, kind: int) -> bool:
    """Take the lock without waiting; False when another holds it."""
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _still_there(descriptor: int, folder: RunFolder) -> bool:
    """Whether the locked file is the one at the folder's path: while we waited the folder may have been moved away."""
    try:
        return os.path.samestat(os.fstat(descriptor), folder.lock_file.stat())
    except FileNotFoundError:
        return False

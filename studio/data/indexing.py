"""Makes the index of a file in a process of its own, at low priority, and keeps what it has every second."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import time
from pathlib import Path

from studio.data.index import Index, begin_index, carry_on, grown, index_file, is_of, load_index, save_index

SECONDS_BETWEEN_SAVES = 1.0

SECONDS_AFTER_A_FAILURE = 30.0

_running: dict[Path, subprocess.Popen[bytes]] = {}
_resting: dict[Path, float] = {}  # files whose index could not be made, and when it may be tried again


def start_indexing(cache: Path, path: Path) -> None:
    """Begin to index a file in the background, unless another is being indexed by this process: then ask again later.

    What can go wrong in there (disk full, file gone) ends it; the pages are then as slow as before.
    """
    for known, process in list(_running.items()):
        code = process.poll()
        if code is not None:
            del _running[known]
        if code:
            _resting[known] = time.monotonic() + SECONDS_AFTER_A_FAILURE
    if _running or time.monotonic() < _resting.get(path, 0.0):
        return
    words = [sys.executable, "-m", "studio.data.indexing", str(cache), str(path)]
    _running[path] = subprocess.Popen(
        words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )


def stored_index(cache: Path, path: Path) -> Index:
    """The index that is kept of the file as it is now, or what of an older one still holds; else an empty one."""
    index = load_index(index_file(cache, path), path)
    if index is None:
        return begin_index(path)
    return index if is_of(index, path) else grown(index, path) or begin_index(path)


def index_now(cache: Path, path: Path, source: str) -> Index:
    """The whole index, made here and kept. Raises OSError from the disk."""
    index, file, saved = stored_index(cache, path), index_file(cache, path), time.monotonic()
    if index.whole:
        return index
    for _ in carry_on(path, source, index):
        if time.monotonic() - saved > SECONDS_BETWEEN_SAVES:
            save_index(file, index, path)
            saved = time.monotonic()
    save_index(file, index, path)
    return index


def finish_indexing(cache: Path, path: Path) -> None:
    """Wait until the index of a file is whole, made by whichever process has begun it. Raises OSError."""
    with _lock_file(cache, path).open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        index_now(cache, path, path.name)


def _lock_file(cache: Path, path: Path) -> Path:
    file = index_file(cache, path).with_suffix(".lock")
    file.parent.mkdir(parents=True, exist_ok=True)
    return file


def main(words: list[str]) -> int:
    """Index one file: its arguments are the cache and the file. 1 when another process is at it already."""
    cache, path = Path(words[0]), Path(words[1])
    os.nice(10)
    with _lock_file(cache, path).open("w") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return 1
        index_now(cache, path, path.name)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

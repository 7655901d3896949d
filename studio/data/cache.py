"""What lies in the workspace's cache, and removing it: all of it can be made again."""

from __future__ import annotations

import shutil
import stat
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from studio.config.workspace import Workspace
from studio.data.examples import DataError

# What changed so recently may still be in the making, by a run or by the board.
SECONDS_LEFT_ALONE = 60
SECONDS_A_DAY = 24 * 3600


@dataclass
class Tidied:
    """What became of one subfolder of the cache: entries and bytes removed, and entries kept, of which some because
    they changed a moment ago. `link`: it leads elsewhere and was not touched."""

    name: str
    removed: int = 0
    size: int = 0
    kept: int = 0
    fresh: int = 0
    link: bool = False


def clean_cache(workspace: Workspace, older_than: float = 0) -> list[Tidied]:
    """Remove the entries of every subfolder of the cache that were last used more than `older_than` days ago.

    An entry is what lies directly in a subfolder; links are never followed. Raises DataError when the cache itself is
    a link, for days below 0, and when a file cannot be removed.
    """
    if not older_than >= 0:
        raise DataError(f"--older-than {older_than:g} is no number of days. Write one from 0 on.")
    if workspace.cache.is_symlink():
        raise DataError(f"{workspace.cache} is a link. Remove what lies at its other end by hand.")
    if not workspace.cache.is_dir():
        return []
    limit = time.time() - older_than * SECONDS_A_DAY
    return [_tidy(kind, limit) for kind in sorted(workspace.cache.iterdir())]


def _tidy(kind: Path, limit: float) -> Tidied:
    if kind.is_symlink():
        return Tidied(kind.name, link=True)
    tidied, fresh = Tidied(kind.name), time.time() - SECONDS_LEFT_ALONE
    for entry in sorted(kind.iterdir()) if kind.is_dir() else [kind]:
        used, size = _look(entry)
        tidied.fresh += used > fresh
        if used > min(limit, fresh):
            tidied.kept += 1
            continue
        _remove(entry)
        tidied.removed += 1
        tidied.size += size
    return tidied


def _look(entry: Path) -> tuple[float, int]:
    """When anything in an entry was last written or, as far as the file system notes it, read; and its bytes."""
    used, size = 0.0, 0
    for path in _inside(entry):
        with suppress(FileNotFoundError):  # it went in this moment
            state = path.lstat()
            # Looking into a folder counts as reading it, so of folders only the writing tells something.
            used = max(used, state.st_mtime, 0.0 if stat.S_ISDIR(state.st_mode) else state.st_atime)
            size += 0 if stat.S_ISDIR(state.st_mode) else state.st_size
    return used, size


def _inside(entry: Path) -> Iterator[Path]:
    """The entry and all that is in it; links are not followed."""
    yield entry
    if entry.is_dir() and not entry.is_symlink():
        for inner in entry.iterdir():
            yield from _inside(inner)


def _remove(entry: Path) -> None:
    try:
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
    except FileNotFoundError:
        return  # somebody else was faster
    except OSError as error:
        raise DataError(f"{error.filename or entry} cannot be removed: {error.strerror or error}.") from None

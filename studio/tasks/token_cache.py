"""Folders of finished work that can be made again, each under a key that says all it was made of.

An entry is made in a folder of its own and renamed when it is whole, so two runs that make the same one do not meet,
and nobody finds half of it. A table of its files' checksums tells a damaged one.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

CONTENTS = "contents.json"  # each file's name and checksum

# Folders in the making have a name that begins so; one as old as this was left by a run that was killed.
MAKING, ABANDONED_AFTER_SECONDS = ".making-", 24 * 3600


class TokenCache:
    """The entries in one folder."""

    def __init__(self, folder: Path, notice: Callable[[str], None]) -> None:
        self._folder, self._notice = folder, notice

    def find(self, key: str) -> Path | None:
        """The whole entry of this key, or None. A damaged one is removed, with a notice."""
        entry = self._folder / key
        if not entry.is_dir():
            return None
        fault = _fault(entry)
        if fault:
            self._notice(f"The tokens in the cache are damaged ({fault}) and are made again.")
            _remove(entry)
            return None
        os.utime(entry)  # when it was last used, for whoever tidies up
        return entry

    def add(self, key: str, make: Callable[[Path], None]) -> Path:
        """The entry of this key, made by `make`, which fills the empty folder that it is given.

        Raises what `make` raises, and then leaves nothing behind.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        self._sweep()
        made = _unused(self._folder)
        made.mkdir()
        try:
            make(made)
            (made / CONTENTS).write_text(json.dumps(_checksums(made)), encoding="utf-8")
            return self._place(made, self._folder / key)
        finally:
            shutil.rmtree(made, ignore_errors=True)

    def _place(self, made: Path, entry: Path) -> Path:
        try:
            made.rename(entry)
        except OSError:
            # Another run was faster; its entry is as good, as the key says all that it was made of.
            if not entry.is_dir():
                raise
        return entry

    def _sweep(self) -> None:
        """Remove what killed runs left."""
        for folder in self._folder.glob(f"{MAKING}*"):
            with suppress(FileNotFoundError):  # another run was faster
                if time.time() - folder.stat().st_mtime > ABANDONED_AFTER_SECONDS:
                    shutil.rmtree(folder, ignore_errors=True)


def _fault(entry: Path) -> str:
    """What is wrong with an entry, "" for nothing."""
    try:
        expected = json.loads((entry / CONTENTS).read_text(encoding="utf-8"))
        found = _checksums(entry)
    except (OSError, ValueError) as error:
        return f"{type(error).__name__}: {error}"
    if not isinstance(expected, dict) or not expected:
        return f"{CONTENTS} holds no table"
    return next((f"{name} is not as it was written" for name in expected if found.get(name) != expected[name]), "")


def _checksums(folder: Path) -> dict[str, str]:
    return {path.name: file_digest(path) for path in sorted(folder.iterdir()) if path.name != CONTENTS}


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes, in hex; reads it once and keeps none of it."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _remove(entry: Path) -> None:
    """Under another name first: nobody may find it half removed."""
    aside = _unused(entry.parent)
    with suppress(FileNotFoundError):  # another run was faster
        entry.rename(aside)
        shutil.rmtree(aside, ignore_errors=True)


def _unused(folder: Path) -> Path:
    return folder / f"{MAKING}{secrets.token_hex(8)}"

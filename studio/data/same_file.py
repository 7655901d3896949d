"""By what a file or folder of data is known again later."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from studio.data.files import files_of

MOST_BYTES_HASHED = 1 << 26  # above that, a file with another time of change counts as another file


def facts_of(path: Path) -> dict[str, Any]:
    """What a file is known by later: its length, its time of change and, where that is quick, its content."""
    return {"path": str(path), "files": [[file.name, *_facts(file)] for file in files_of(path, path.name)]}


def _facts(file: Path) -> tuple[int, int, str]:
    facts = file.stat()
    digest = hashlib.blake2b(file.read_bytes(), digest_size=16).hexdigest() if facts.st_size < MOST_BYTES_HASHED else ""
    return facts.st_size, facts.st_mtime_ns, digest


def is_same(known: Mapping[str, Any], path: Path) -> bool:
    """Whether the files at a path are those that the facts are of: nothing changed, or they were only touched."""
    old = cast("list[list[Any]]", known.get("files", []))
    files = files_of(path, path.name)
    if [file.name for file in files] != [name for name, *_ in old]:
        return False
    for file, (_, size, modified, digest) in zip(files, old, strict=True):
        facts = file.stat()
        if (facts.st_size, facts.st_mtime_ns) != (size, modified) and (not digest or _facts(file)[2] != digest):
            return False
    return True

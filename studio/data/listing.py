"""What a page shows of each dataset: name, format, file, size and rows, without reading a file twice."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

from studio.config.workspace import Workspace
from studio.data.examples import DataError
from studio.data.registry import BrokenEntry, DatasetEntry, load_registry, locate

# Counting the rows of a .json file means parsing all of it: about a second for 100 MB.
MOST_BYTES_PARSED = 50_000_000


@dataclass(frozen=True)
class DatasetSummary:
    """One line of the list. `size` in bytes, `rows` None when costly to know, `problem`: why it cannot be used."""

    name: str
    formatting: str = ""
    file: str = ""
    size: int | None = None
    rows: int | None = None
    problem: str | None = None


def list_datasets(workspace: Workspace) -> list[DatasetSummary]:
    """Every dataset of the registry in its order, broken ones included. Raises DataError for a broken registry."""
    return [_summary(workspace, entry) for entry in load_registry(workspace).values()]


def _summary(workspace: Workspace, entry: DatasetEntry | BrokenEntry) -> DatasetSummary:
    if isinstance(entry, BrokenEntry):
        return DatasetSummary(entry.name, problem=entry.reason)
    try:
        path = locate(workspace, entry)
        facts = path.stat()
    except (DataError, OSError) as error:
        return DatasetSummary(entry.name, entry.formatting, entry.file_name or entry.remote or "", problem=str(error))
    rows = _count_rows(path, facts.st_mtime_ns, facts.st_size)
    return DatasetSummary(entry.name, entry.formatting, entry.file_name or "", facts.st_size, rows)


@lru_cache(maxsize=512)
def _count_rows(path: Path, modified_ns: int, size: int) -> int | None:
    """Rows of the file as it was at that time and size: these two are part of the key, not of the computation."""
    if path.suffix in (".jsonl", ".txt"):
        with path.open("rb") as stream:
            return sum(1 for line in stream if line.strip())
    if path.suffix == ".json" and size <= MOST_BYTES_PARSED:
        try:
            value = json.loads(path.read_text(encoding="utf-8-sig"))
        except ValueError:
            return None
        return len(cast("list[Any]", value)) if isinstance(value, list) else None
    return None

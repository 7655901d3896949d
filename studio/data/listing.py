"""What a page shows of each dataset: name, format, file, size and rows, without reading a file twice."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from studio.config.workspace import Workspace
from studio.data.examples import DataError
from studio.data.files import files_of, kind_of, rows_of
from studio.data.pages import RowPages
from studio.data.registry import BrokenEntry, DatasetEntry, load_registry, locate

# Counting the rows of most files means parsing all of it: a second or two for 100 MB.
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
        files = files_of(path, entry.file_name or entry.name)
        facts = [(file, file.stat()) for file in files]
    except (DataError, OSError) as error:
        return DatasetSummary(entry.name, entry.formatting, entry.file_name or entry.remote or "", problem=str(error))
    counts = [_count_rows(file, fact.st_mtime_ns, fact.st_size) for file, fact in facts]
    rows = None if None in counts else sum(count or 0 for count in counts)
    size = sum(fact.st_size for _, fact in facts)
    return DatasetSummary(entry.name, entry.formatting, entry.file_name or "", size, rows)


@lru_cache(maxsize=512)
def _count_rows(path: Path, modified_ns: int, size: int) -> int | None:
    """Rows of the file as it was at that time and size: these two are part of the key, not of the computation."""
    kind, packed = kind_of(path), path.suffix.lower() == ".gz"
    if kind in ("jsonl", "txt") and not packed:
        with path.open("rb") as stream:
            return sum(1 for line in stream if line.strip())
    try:
        if kind in ("parquet", "arrow") and not packed:
            return RowPages(path, path.name).places()
        if kind and size <= MOST_BYTES_PARSED:
            return sum(1 for _ in rows_of(path, path.name))
    except DataError:  # the page of the dataset says what is wrong with its file
        return None
    return None

"""What a page shows of each dataset: name, format, file, size and rows, without reading a large file for it."""

from __future__ import annotations

from dataclasses import dataclass

from studio.config.workspace import Workspace
from studio.data.examples import DataError
from studio.data.fetched import NotFetched
from studio.data.files import files_of
from studio.data.indexing import finish_indexing
from studio.data.pages import open_pages
from studio.data.registry import BrokenEntry, DatasetEntry, load_registry, locate


@dataclass(frozen=True)
class DatasetSummary:
    """One line of the list. `size` in bytes; `rows` None while they are not counted; `problem`: why it cannot be used.

    `indexed` is the share of its file whose rows are counted; `to_fetch` says that it comes from a hub or a cloud and
    is not here yet: training fetches it.
    """

    name: str
    formatting: str = ""
    file: str = ""
    size: int | None = None
    rows: int | None = None
    problem: str | None = None
    indexed: float = 1.0
    to_fetch: bool = False


def list_datasets(workspace: Workspace, *, wait: bool = False) -> list[DatasetSummary]:
    """Every dataset of the registry in its order, broken ones included. Raises DataError for a broken registry.

    The rows of large files are counted in the background, so the list is there at once; with `wait` it comes when all
    are counted.
    """
    return [_summary(workspace, entry, wait) for entry in load_registry(workspace).values()]


def _summary(workspace: Workspace, entry: DatasetEntry | BrokenEntry, wait: bool) -> DatasetSummary:
    if isinstance(entry, BrokenEntry):
        return DatasetSummary(entry.name, problem=entry.reason)
    name, formatting, file = entry.name, entry.formatting, entry.file_name or entry.remote or ""
    try:
        path = locate(workspace, entry)
        files = files_of(path, file)
        size = sum(part.stat().st_size for part in files)
    except NotFetched:
        return DatasetSummary(name, formatting, file, to_fetch=True)
    except (DataError, OSError) as error:
        return DatasetSummary(name, formatting, file, problem=str(error))
    pages = open_pages(workspace, path)
    try:
        rows, indexed = pages.places(), pages.progress()
        if wait and indexed < 1:
            for part in files:
                finish_indexing(workspace.cache, part)
            rows, indexed = pages.places(), pages.progress()
    except (DataError, OSError):  # the page of the dataset says what is wrong with its file
        return DatasetSummary(name, formatting, file, size)
    return DatasetSummary(name, formatting, file, size, rows, indexed=indexed)

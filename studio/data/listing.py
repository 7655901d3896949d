"""What a page shows of each dataset: name, format, file, size and rows, without reading a large file for it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import PurePath

from studio.config.workspace import Workspace
from studio.data.examples import DataError, Kind
from studio.data.fetched import NotFetched
from studio.data.files import files_of
from studio.data.formats import MEDIA
from studio.data.indexing import finish_indexing
from studio.data.pages import open_pages
from studio.data.registry import BrokenEntry, DatasetEntry, load_registry, locate


@dataclass(frozen=True)
class DatasetSummary:
    """One line of the list. `size` in bytes; `rows` None while they are not counted; `problem`: why it cannot be used.

    `indexed` is the share of its file whose rows are counted; `to_fetch` says that it comes from a hub or a cloud and
    is not here yet: training fetches it. `kinds` are those of its rows, as far as its entry tells.
    """

    name: str
    formatting: str = ""
    file: str = ""
    size: int | None = None
    rows: int | None = None
    problem: str | None = None
    indexed: float = 1.0
    to_fetch: bool = False
    kinds: tuple[Kind, ...] = ()

    def fits(self, kinds: Collection[str]) -> bool:
        """Whether a stage that learns from these kinds may find rows here; without a word in the entry, it may."""
        return not self.kinds or any(kind in kinds for kind in self.kinds)


def kinds_of(entry: DatasetEntry) -> tuple[Kind, ...]:
    """The kinds of rows that an entry of the registry leads to, told without reading a row."""
    if entry.formatting == "text" or PurePath(entry.file_name or "").suffix == ".txt":
        return ("text",)
    if entry.formatting == "prompt":
        return ("prompt",)
    found: set[Kind] = {"chat"}
    if entry.ranking:
        found = {"preference"}
    elif "kto_tag" in entry.named_columns:
        found = {"judged"}
    else:
        if entry.formatting != "alpaca" or "tools" in entry.named_columns:
            found.add("tools")
        if entry.formatting == "alpaca" and "prompt" in entry.named_columns and "response" not in entry.named_columns:
            found.add("text")
    if not entry.named_columns.isdisjoint(MEDIA):
        found.add("media")
    return tuple(sorted(found))


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
    kinds = kinds_of(entry)
    try:
        path = locate(workspace, entry)
        files = files_of(path, file)
        size = sum(part.stat().st_size for part in files)
    except NotFetched:
        return DatasetSummary(name, formatting, file, to_fetch=True, kinds=kinds)
    except (DataError, OSError) as error:
        return DatasetSummary(name, formatting, file, problem=str(error), kinds=kinds)
    pages = open_pages(workspace, path)
    try:
        rows, indexed = pages.places(), pages.progress()
        if wait and indexed < 1:
            for part in files:
                finish_indexing(workspace.cache, part)
            rows, indexed = pages.places(), pages.progress()
    except (DataError, OSError):  # the page of the dataset says what is wrong with its file
        return DatasetSummary(name, formatting, file, size, kinds=kinds)
    return DatasetSummary(name, formatting, file, size, rows, indexed=indexed, kinds=kinds)

"""Any page of a huge file at once: the rows from one place on, without reading those before it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import islice, repeat
from pathlib import Path
from typing import TypeVar

from studio.config.workspace import Workspace
from studio.data.examples import BadRow, DataError
from studio.data.files import RawRow, csv_of, explained, files_of, kind_of, line_value, opened, raw_lines, rows_from
from studio.data.index import Index, begin_index, can_be_indexed, complete, is_of
from studio.data.indexing import index_now, start_indexing, stored_index
from studio.data.marks import Mark
from studio.data.reading import source_of
from studio.data.tables import open_table

# Files up to these sizes are indexed at once, in less time than a page may take; larger ones in the background.
AT_ONCE = {"jsonl": 1 << 25, "txt": 1 << 25, "csv": 1 << 22, "json": 1 << 22}
AT_ONCE_PACKED = 1 << 20
MOST_BYTES_AT_ONCE = 1 << 24  # between two marks lies one line of megabytes at most
SECONDS_A_PAGE = 0.25  # to look for a page that the index does not cover yet

MOST_INDEXES = 512  # kept in memory, at most 24 bytes for each 64 KiB of a file

T = TypeVar("T")

_indexes: dict[Path, Index] = {}


class StillIndexing(DataError):
    """A page lies behind what the index covers so far: ask again. `progress` is the share of the file covered."""

    def __init__(self, source: str, progress: float) -> None:
        super().__init__(f"{source} is being indexed ({progress:.0%}). Its later rows can be shown in a moment.")
        self.progress = progress


@dataclass(frozen=True)
class RowPages:
    """Pages of raw rows of a file or a folder of files. `source` is what messages call it.

    A place is the number of a row in the order of reading, from 0; blank lines have none. With a `cache` folder the
    index of a larger file is made in the background and kept there, without one it is made at the first question.
    Lines, csv and json have an index, parquet and arrow files bring one. Gzipped files and arrow streams have no way
    in but from the start: their pages cost the more the later they come.
    """

    path: Path
    source: str
    cache: Path | None = None

    def page(self, start: int, count: int) -> list[RawRow | BadRow]:
        """At most `count` rows from place `start` (from 0) on. Raises DataError for a file that cannot be read, and
        StillIndexing for a page that cannot be found quickly yet."""
        if self.path.is_dir():
            return self._of_parts(start, count)
        return [row for row in islice(self.rows(start), count) if row is not None]

    def rows(self, start: int, passes: Callable[[bytes], bool] | None = None) -> Iterator[RawRow | BadRow | None]:
        """Each row from place `start` on; None for a line that `passes` holds off, which is then not parsed. Raises
        like `page`."""
        if self.path.is_dir():
            for part in self._parts:
                places = part.places()
                if places is None or start < places:
                    yield from part.rows(start, passes)
                if places is None:
                    raise StillIndexing(self.source, self.progress())
                start = max(0, start - places)
            return
        with explained(self.path, self.source):
            if self._is_table:
                yield from rows_from(self.path, self.source, Mark(start))
                return
            index = self._index()
            mark = index.before(start)
            if not self._has_lines:
                yield from self._passed(rows_from(self.path, self.source, mark), start - mark.row, index)
                return
            if passes is not None and index.whole:
                yield from self._sieved(start, passes, index)
                return
            lines = self._passed(raw_lines(self.path, self.source, mark), start - mark.row, index)
            yield from self._read_lines(lines, passes)

    def _read_lines(
        self, lines: Iterator[tuple[int, bytes]], passes: Callable[[bytes], bool] | None
    ) -> Iterator[RawRow | BadRow | None]:
        plain = kind_of(self.path) == "txt"
        for line, raw in lines:
            passed = passes is None or passes(raw)
            yield line_value(raw, self.source, line, plain=plain) if passed else None

    def _sieved(self, start: int, passes: Callable[[bytes], bool], index: Index) -> Iterator[RawRow | BadRow | None]:
        """Rows of lines from mark to mark: what lies between two is held off at once where it holds nothing."""
        with self.path.open("rb") as stream:
            for first, last, size in index.stretches(start):
                skipped = max(0, start - first.row)
                stream.seek(first.offset)
                if size <= MOST_BYTES_AT_ONCE and not passes(stream.read(size)):
                    yield from repeat(None, last - first.row - skipped)
                else:
                    lines = islice(raw_lines(self.path, self.source, first), last - first.row)
                    yield from self._read_lines(islice(lines, skipped, None), passes)

    def places(self) -> int | None:
        """How many places there are; None while that is not known, and in a file that breaks off."""
        if self.path.is_dir():
            counts = [part.places() for part in self._parts]
            return None if None in counts else sum(count or 0 for count in counts)
        with explained(self.path, self.source):
            index = self._index()
            return index.total if index.whole and not index.broken else None

    def progress(self) -> float:
        """Share of the file that is indexed, 1 when any page can be had."""
        if self.path.is_dir():
            return sum(part.progress() for part in self._parts) / len(self._parts)
        return 1.0 if self.places() is not None else self._index().progress

    def text(self, place: int) -> str:
        """The text of a row as it stands in the file; where a file has no text, its row as JSON. "" for none there."""
        if self.path.is_dir():
            for part in self._parts:
                count = part.places()
                if count is None or place < count:
                    return part.text(place)
                place -= count
            return ""
        kind = kind_of(self.path)
        if kind in ("jsonl", "txt", "csv") and can_be_indexed(self.path):
            with explained(self.path, self.source):
                mark = self._index().before(place)
                if kind == "csv":
                    with csv_of(self.path, self.source) as reader:
                        records = islice(reader.records(mark), place - mark.row, None)
                        return next((record.text for record in records), "").rstrip("\r\n")
                lines = islice(raw_lines(self.path, self.source, mark), place - mark.row, None)
                return next((raw for _, raw in lines), b"").decode("utf-8", "replace").rstrip("\r\n")
        rows = self.page(place, 1)
        value = rows[0].value if rows and isinstance(rows[0], RawRow) else None
        return json.dumps(value, ensure_ascii=False) if rows else ""

    @property
    def _has_lines(self) -> bool:
        return kind_of(self.path) in ("jsonl", "txt") and can_be_indexed(self.path)

    @property
    def _is_table(self) -> bool:
        return kind_of(self.path) in ("parquet", "arrow")

    @cached_property
    def _parts(self) -> list[RowPages]:
        files = files_of(self.path, self.source)
        return [RowPages(file, f"{self.source}/{file.name}", self.cache) for file in files]

    def _of_parts(self, start: int, count: int) -> list[RawRow | BadRow]:
        found: list[RawRow | BadRow] = []
        for part in self._parts:
            places = part.places()
            if places is None or start < places:
                found += part.page(start, count - len(found))
            if len(found) == count:
                break
            if places is None:
                raise StillIndexing(self.source, self.progress())
            start = max(0, start - places)
        return found

    def _passed(self, rows: Iterator[T], skipped: int, index: Index) -> Iterator[T]:
        """The rows behind the first `skipped` ones. While the index is not whole that may take SECONDS_A_PAGE."""
        deadline = time.monotonic() + SECONDS_A_PAGE
        for number, _ in enumerate(islice(rows, skipped)):
            if not index.whole and number % 64 == 0 and time.monotonic() > deadline:
                raise StillIndexing(self.source, index.progress)
        return rows

    def _index(self) -> Index:
        """The index as far as it goes; seen to be carried on while it is not whole."""
        known = _indexes.get(self.path)
        if known is not None and is_of(known, self.path):
            return known
        index = self._made()
        if index.whole:
            while len(_indexes) >= MOST_INDEXES:
                _indexes.pop(next(iter(_indexes)), None)
            _indexes[self.path] = index
        return index

    def _made(self) -> Index:
        if self._is_table:
            with opened(self.path) as stream, open_table(stream, kind_of(self.path), self.source) as table:
                if table.sizes is not None:  # it brings an index of its own
                    index = begin_index(self.path)
                    index.total, index.whole = sum(table.sizes), True
                    return index
        size = self.path.stat().st_size
        limit = AT_ONCE.get(kind_of(self.path), 0) if can_be_indexed(self.path) else AT_ONCE_PACKED
        if self.cache is None or size <= limit:
            return complete(self.path, self.source, begin_index(self.path))
        index = stored_index(self.cache, self.path)
        if index.size - index.covered <= limit and not index.whole:
            return index_now(self.cache, self.path, self.source)
        if not index.whole:
            start_indexing(self.cache, self.path)
        return index


def open_pages(workspace: Workspace, path: Path) -> RowPages:
    """The pages of a dataset's file or folder, with the indexes that the workspace keeps."""
    return RowPages(path, source_of(workspace, path), workspace.cache)
